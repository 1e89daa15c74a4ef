"""One optimiser a turn, with a state that can be written flat and read back without unpickling anything.

Adam, AdamW and SGD are torch's fused kernels called directly, RMSprop its `foreach` ones. `torch.optim` is left out:
its first optimiser imports the compiler, 2-4 s of a training that may last two minutes, and each step of it costs more
in Python than the kernel does on a small network. Muon (Keller Jordan 2024; Liu et al. 2025, "Muon is scalable") moves
matrices, convolutions among them, by an orthogonalised momentum; biases, gains and embeddings go by AdamW. Its scale
rule gives every update the size an AdamW update has, so one learning rate serves both halves.

Shape legend: M rows, N columns of a weight seen as a matrix.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from motherlode.errors import TrainingError
from motherlode.recipe import OptimizerOptions

# Five quintic steps X ← aX + b(XXᵀ)X + c(XXᵀ)²X, each fitted to the interval of singular values the one before leaves
# (the minimax polynomials of Amsel et al. 2025, "Polar Express", table 1): singular values from 1e-3 to 1 end near 1.
_ORTHOGONAL_STEPS = (
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
    (3.3184196573706015, -2.488488024314874, 0.51004894012372),
    (2.300652019954817, -1.6689039845747493, 0.4188073119525673),
)
_ADAMW_UPDATE_RMS = 0.2
_RMSPROP_SMOOTHING = 0.99


def orthogonalise(matrix_MN: Tensor) -> Tensor:
    """The nearest matrix with singular values near 1, UVᵀ of the SVD, by five Newton-Schulz steps.

    On a GPU the steps run in bf16, whose rounding they tolerate; elsewhere in float32.

    Args:
        matrix_MN: float, any size; a zero matrix stays zero.
    """
    dtype = torch.bfloat16 if matrix_MN.is_cuda else torch.float32
    x_MN = matrix_MN.to(dtype)
    tall = x_MN.shape[0] > x_MN.shape[1]
    if tall:
        x_MN = x_MN.T
    x_MN = x_MN / (torch.linalg.vector_norm(x_MN) * 1.02 + 1e-7)
    for a, b, c in _ORTHOGONAL_STEPS:
        gram_MM = x_MN @ x_MN.T
        polynomial_MM = torch.addmm(gram_MM, gram_MM, gram_MM, beta=b, alpha=c)
        x_MN = torch.addmm(x_MN, polynomial_MM, x_MN, beta=a)
    return (x_MN.T if tall else x_MN).to(matrix_MN.dtype)


class Rule(ABC):
    """How a set of parameters moves, and what is remembered about each.

    Args:
        params: parameters of one device.
        options: the recipe's optimiser.
    """

    keys: ClassVar[tuple[str, ...]]
    """What is remembered; "step" is a 0-d count, all others have the parameter's shape."""

    def __init__(self, params: Sequence[nn.Parameter], options: OptimizerOptions) -> None:
        self.params = list(params)
        self.options = options
        self.state = {key: [_nothing_yet(key, parameter) for parameter in params] for key in self.keys}

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Move every parameter that has a gradient."""
        live = [index for index, parameter in enumerate(self.params) if parameter.grad is not None]
        gradients = [gradient for parameter in self.params if (gradient := parameter.grad) is not None]
        if live:
            state = {key: [values[index] for index in live] for key, values in self.state.items()}
            params: list[Tensor] = [self.params[index] for index in live]
            self.move(params, gradients, state, rate)

    @abstractmethod
    def move(self, params: list[Tensor], gradients: list[Tensor], state: dict[str, list[Tensor]], rate: float) -> None:
        """Move `params`, all of which have gradients, at learning rate `rate`."""


class Adam(Rule):
    """Kingma & Ba 2015, algorithm 1; weight decay is added to the gradient."""

    keys = ("exp_avg", "exp_avg_sq", "step")
    kernel: ClassVar[Callable[..., None]] = staticmethod(torch._fused_adam_)

    def move(self, params: list[Tensor], gradients: list[Tensor], state: dict[str, list[Tensor]], rate: float) -> None:
        """One fused kernel over all parameters."""
        torch._foreach_add_(state["step"], 1)
        self.kernel(
            params,
            gradients,
            state["exp_avg"],
            state["exp_avg_sq"],
            [],
            state["step"],
            lr=rate,
            beta1=self.options.betas[0],
            beta2=self.options.betas[1],
            weight_decay=self.options.weight_decay,
            eps=self.options.eps,
            amsgrad=False,
            maximize=False,
        )


class AdamW(Adam):
    """Loshchilov & Hutter 2019, algorithm 2; weight decay is decoupled."""

    kernel = staticmethod(torch._fused_adamw_)


class Sgd(Rule):
    """B ← βB + G, W ← W − lr B (Polyak 1964); weight decay is added to the gradient."""

    keys = ("momentum_buffer",)

    def move(self, params: list[Tensor], gradients: list[Tensor], state: dict[str, list[Tensor]], rate: float) -> None:
        """One fused kernel over all parameters."""
        torch._fused_sgd_(
            params,
            gradients,
            state["momentum_buffer"] if self.options.momentum else [],
            weight_decay=self.options.weight_decay,
            momentum=self.options.momentum,
            lr=rate,
            dampening=0.0,
            nesterov=False,
            maximize=False,
            is_first_step=False,
        )


class RmsProp(Rule):
    """Hinton 2012, lecture 6: W ← W − lr G / (√V + ε), V ← 0.99 V + 0.01 G²; weight decay is added to the gradient."""

    keys = ("square_avg",)

    def move(self, params: list[Tensor], gradients: list[Tensor], state: dict[str, list[Tensor]], rate: float) -> None:
        """A few kernels, each over all parameters."""
        if self.options.weight_decay:
            gradients = list(torch._foreach_add(gradients, params, alpha=self.options.weight_decay))  # noqa: SLF001
        squares = state["square_avg"]
        torch._foreach_mul_(squares, _RMSPROP_SMOOTHING)
        torch._foreach_addcmul_(squares, gradients, gradients, 1.0 - _RMSPROP_SMOOTHING)
        scales = torch._foreach_sqrt(squares)  # noqa: SLF001
        torch._foreach_add_(scales, self.options.eps)
        torch._foreach_addcdiv_(params, gradients, scales, -rate)


class Muon(Rule):
    """Momentum, orthogonalised: M ← βM + G, W ← (1 − lr λ) W − lr s O(G + βM).

    s = 0.2 sqrt(max(M, N)): an orthogonal M x N matrix has entries of root mean square 1 / sqrt(max(M, N)), and 0.2 is
    what an AdamW update has, so learning rates and weight decay carry over from AdamW (Liu et al. 2025, eq. 4).
    Weights with more than two dimensions count as matrices of their first dimension by the rest.
    """

    keys = ("momentum_buffer",)

    def move(self, params: list[Tensor], gradients: list[Tensor], state: dict[str, list[Tensor]], rate: float) -> None:
        """Weight by weight."""
        beta = self.options.momentum
        for weight, gradient, buffer in zip(params, gradients, state["momentum_buffer"]):
            buffer.mul_(beta).add_(gradient)
            ahead_MN = gradient.add(buffer, alpha=beta).reshape(weight.shape[0], -1)
            update = orthogonalise(ahead_MN).view(weight.shape)
            weight.mul_(1.0 - rate * self.options.weight_decay)
            weight.add_(update, alpha=-rate * _ADAMW_UPDATE_RMS * math.sqrt(max(ahead_MN.shape)))


_RULES: dict[str, type[Rule]] = {"adam": Adam, "adamw": AdamW, "sgd": Sgd, "rmsprop": RmsProp}


class TurnOptimizer:
    """What moves the parameters of one turn: one rule, or two for Muon.

    Args:
        named: full parameter names (as in the family's `state_dict`) and parameters, in a stable order.
        options: the recipe's optimiser.
        embeddings: those of them that are look-up tables; Muon leaves them to AdamW.
    """

    def __init__(
        self, named: Mapping[str, nn.Parameter], options: OptimizerOptions, embeddings: frozenset[str] = frozenset()
    ) -> None:
        self.named = dict(named)
        self.params = list(self.named.values())
        self.peak = options.lr
        self.rules = list(_make(self.named, options, embeddings))

    def step(self, factor: float) -> None:
        """Move the parameters, with `factor` times the peak learning rate."""
        for rule in self.rules:
            rule.step(self.peak * factor)

    def state(self) -> dict[str, Tensor]:
        """Everything remembered, as `parameter/key` → tensor."""
        return {f"{name}/{key}": values[index] for name, key, values, index in self._slots()}

    def load(self, flat: Mapping[str, Tensor]) -> None:
        """Put back what `state` gave, in the memory layout and on the device of each parameter.

        Raises:
            TrainingError: the tensors are not those this optimiser remembers.
        """
        here = {path: tuple(tensor.shape) for path, tensor in self.state().items()}
        there = {path: tuple(tensor.shape) for path, tensor in flat.items()}
        if here != there:
            strangers = sorted(path for path in {*here, *there} if here.get(path) != there.get(path))
            raise TrainingError(
                "the optimiser's state must belong to this model and optimiser",
                ", ".join(strangers[:6]),
                "resume with the recipe that wrote it",
            )
        for name, key, values, index in self._slots():
            values[index].copy_(flat[f"{name}/{key}"])

    def _slots(self) -> Iterator[tuple[str, str, list[Tensor], int]]:
        names = {id(parameter): name for name, parameter in self.named.items()}
        for rule in self.rules:
            for key, values in rule.state.items():
                for index, parameter in enumerate(rule.params):
                    yield names[id(parameter)], key, values, index


def _nothing_yet(key: str, parameter: nn.Parameter) -> Tensor:
    if key == "step":
        return torch.zeros((), dtype=torch.float32, device=parameter.device)
    return torch.zeros_like(parameter, requires_grad=False)


def embedding_names(family: nn.Module) -> frozenset[str]:
    """Full names of the weights that are look-up tables."""
    return frozenset(
        f"{name}.weight" if name else "weight"
        for name, module in family.named_modules()
        if isinstance(module, nn.Embedding | nn.EmbeddingBag)
    )


def _make(named: Mapping[str, nn.Parameter], options: OptimizerOptions, embeddings: frozenset[str]) -> Iterator[Rule]:
    if options.name != "muon":
        yield _RULES[options.name](list(named.values()), options)
        return
    is_matrix = {name: parameter.dim() >= 2 and name not in embeddings for name, parameter in named.items()}
    yield Muon([parameter for name, parameter in named.items() if is_matrix[name]], options)
    yield AdamW([parameter for name, parameter in named.items() if not is_matrix[name]], options)
