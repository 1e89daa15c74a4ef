"""One optimiser a turn, with a state that can be written flat and read back without unpickling anything.

Adam, AdamW and SGD are torch's fused kernels called directly, RMSprop its `foreach` ones. `torch.optim` is left out:
its first optimiser imports the compiler, 2-4 s of a training that may last two minutes, and each step of it costs more
in Python than the kernel does on a small network. Muon (Keller Jordan 2024; Liu et al. 2025, "Muon is scalable") moves
matrices, convolutions among them, by an orthogonalised momentum; biases, gains, token tables and heads go by AdamW.
Its first scale rule gives every update the size an AdamW update has, so one learning rate serves both halves; its
second gives it a spectral norm that holds over widths, and the others rates of their own.

Shape legend: K matrices of one shape, M rows, N columns of a weight seen as a matrix.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn

from motherlode.errors import TrainingError
from motherlode.recipe import OptimizerOptions

# Four quintic steps X ← aX + b(XXᵀ)X + c(XXᵀ)²X, each the minimax polynomial of the interval of singular values the one
# before leaves (Amsel et al. 2025, "Polar Express"), found by Remez exchange: singular values from 5e-3 to 1 end within
# 0.083 of 1, smaller ones are lifted 220-fold. A fifth step would lift those too, at a quarter more of the cost.
_ORTHOGONAL_STEPS = (
    (8.298703491437525, -24.430498148217676, 18.0903041930787),
    (3.9152209604606245, -2.9211302321835295, 0.5592232598130898),
    (3.174603657055767, -2.380432833895438, 0.4978263935199086),
    (2.1894628397935563, -1.5672206834558335, 0.4078871579955809),
)
# What bf16 rounds up beyond an interval's end the next polynomial would send away: each step but the last is stretched
# by 1 %, as its authors do. Without it a 64 x 64 matrix came out with a singular value of 2.8 for 1, smaller ones with
# hundreds.
_BF16_STRETCH = 1.01
_BF16_STEPS = (
    *((a / _BF16_STRETCH, b / _BF16_STRETCH**3, c / _BF16_STRETCH**5) for a, b, c in _ORTHOGONAL_STEPS[:-1]),
    _ORTHOGONAL_STEPS[-1],
)
Role = Literal["matrix", "vector", "embedding", "head"]
Block = tuple[int, int]
"""Rows and columns of each of the equal matrices that a weight is made of."""
_ADAMW_UPDATE_RMS = 0.2
_RMSPROP_SMOOTHING = 0.99


def orthogonalise(matrix_KMN: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """The nearest matrices with singular values near 1, UVᵀ of the SVD, by four Newton-Schulz steps.

    Args:
        matrix_KMN: float, one matrix (M, N) or several of one shape (K, M, N); a zero matrix stays zero.
        dtype: of the steps. They tolerate the rounding of bf16, in which an EPYC with `avx512_bf16` took 0.48 of
            the time.
    """
    tall = matrix_KMN.shape[-2] > matrix_KMN.shape[-1]
    x_KMN = (matrix_KMN.mT if tall else matrix_KMN).to(dtype)
    x_KMN = x_KMN / (torch.linalg.vector_norm(x_KMN, dim=(-2, -1), keepdim=True) * 1.02 + 1e-7)
    multiply_add = torch.addmm if x_KMN.dim() == 2 else torch.baddbmm
    for a, b, c in _BF16_STEPS if dtype == torch.bfloat16 else _ORTHOGONAL_STEPS:
        gram_KMM = x_KMN @ x_KMN.mT
        polynomial_KMM = multiply_add(gram_KMM, gram_KMM, gram_KMM, beta=b, alpha=c)
        x_KMN = multiply_add(x_KMN, polynomial_KMM, x_KMN, beta=a)
    return (x_KMN.mT if tall else x_KMN).to(matrix_KMN.dtype)


def apart(matrix_MN: Tensor, block: Block) -> Tensor:
    """The blocks of a matrix, (K, *block), row of blocks by row of blocks."""
    rows, columns = block
    grid = matrix_MN.view(matrix_MN.shape[0] // rows, rows, matrix_MN.shape[1] // columns, columns)
    return grid.transpose(1, 2).reshape(-1, rows, columns)


def together(blocks_KMN: Tensor, num_rows: int, num_columns: int) -> Tensor:
    """The matrix whose blocks `apart` gives."""
    _, rows, columns = blocks_KMN.shape
    grid = blocks_KMN.view(num_rows // rows, num_columns // columns, rows, columns)
    return grid.transpose(1, 2).reshape(num_rows, num_columns)


class Wholes(Protocol):
    """Where the whole of a matrix is, of which `Rule` may know some rows only."""

    shapes: Mapping[str, tuple[int, ...]]
    """Of the whole weights that parameters are parts of."""

    def gather(self, names: Sequence[str], parts: Sequence[Tensor]) -> dict[str, Tensor]:
        """The whole matrices that are worked on here, by name, from the parts of all of `names`."""
        ...

    def scatter(self, names: Sequence[str], wholes: Mapping[str, Tensor]) -> list[Tensor]:
        """The parts of all of `names`, from the whole matrices that were worked on here."""
        ...


class AllHere:
    """Parameters are whole: nothing has to be fetched."""

    shapes: Mapping[str, tuple[int, ...]] = MappingProxyType({})

    def gather(self, names: Sequence[str], parts: Sequence[Tensor]) -> dict[str, Tensor]:
        """All of them."""
        return dict(zip(names, parts))

    def scatter(self, names: Sequence[str], wholes: Mapping[str, Tensor]) -> list[Tensor]:
        """All of them."""
        return [wholes[name] for name in names]


class Rule(ABC):
    """How a set of parameters moves, and what is remembered about each.

    Args:
        named: parameters of one device, by name.
        options: the recipe's optimiser.
        multiple: of the learning rate, for these parameters.
        precision: of matrix products, where a rule makes some.
        blocks: which parameters hold several matrices, where a rule tells matrices apart.
        wholes: where parameters are parts of matrices, for a rule that needs them whole.
    """

    keys: ClassVar[tuple[str, ...]]
    """What is remembered; "step" is a 0-d count, all others have the parameter's shape."""

    def __init__(
        self,
        named: Mapping[str, nn.Parameter],
        options: OptimizerOptions,
        multiple: float = 1.0,
        precision: torch.dtype = torch.float32,
        blocks: Mapping[str, Block] = MappingProxyType({}),
        wholes: Wholes | None = None,
    ) -> None:
        self.names = list(named)
        self.params = list(named.values())
        self.options = options
        self.multiple = multiple
        self.precision = precision
        self.blocks = blocks
        self.wholes = wholes or AllHere()
        self.state = {key: [_nothing_yet(key, parameter) for parameter in self.params] for key in self.keys}

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Move every parameter that has a gradient."""
        live = [index for index, parameter in enumerate(self.params) if parameter.grad is not None]
        gradients = [gradient for parameter in self.params if (gradient := parameter.grad) is not None]
        if live:
            state = {key: [values[index] for index in live] for key, values in self.state.items()}
            params: list[Tensor] = [self.params[index] for index in live]
            self.move(params, gradients, state, rate * self.multiple)

    @abstractmethod
    def move(self, params: list[Tensor], gradients: list[Tensor], state: dict[str, list[Tensor]], rate: float) -> None:
        """Move `params`, all of which have gradients, at learning rate `rate`."""


class Adam(Rule):
    """Kingma & Ba 2015, algorithm 1; weight decay is added to the gradient."""

    keys = ("exp_avg", "exp_avg_sq", "step")
    kernel: ClassVar[Callable[..., None]] = staticmethod(torch._fused_adam_)

    @property
    def decay(self) -> float:
        """The kernel's weight decay."""
        return self.options.weight_decay

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
            weight_decay=self.decay,
            eps=self.options.eps,
            amsgrad=False,
            maximize=False,
        )


class AdamW(Adam):
    """Loshchilov & Hutter 2019, algorithm 2; weight decay is decoupled, from the multiple of the rate too: a step takes
    the same share of every weight."""

    kernel = staticmethod(torch._fused_adamw_)

    @property
    def decay(self) -> float:
        """See `Adam.decay`."""
        return self.options.weight_decay / self.multiple if self.multiple else 0.0


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

    s is one of two. "adamw": 0.2 sqrt(max(M, N)), because an orthogonal M x N matrix has entries of root mean square
    1 / sqrt(max(M, N)), and 0.2 is what an AdamW update has, so learning rates and weight decay carry over from AdamW
    (Liu et al. 2025, eq. 4). "spectral": sqrt(max(1, M / N)), with which an update changes what comes out of a layer
    equally at any width, so learning rates carry over from width to width (Jordan 2024; Bernstein 2025, "Deriving
    Muon"). Weights with more than two dimensions count as matrices of their first dimension by the rest.

    Where a weight holds several matrices (`blocks`: the heads of attention), each is made orthogonal by itself, which
    costs less; s stays the whole weight's. With `every` above 1 a weight moves on one step in so many, as many times as
    far; its momentum gathers every gradient. The weights take turns, so that all steps cost the same.

    In float32 weights are taken one by one, in bf16 all of one shape together, which is faster for small ones.
    """

    keys = ("momentum_buffer", "step")

    def __init__(self, named: Mapping[str, nn.Parameter], *args: Any, **kwargs: Any) -> None:
        super().__init__(named, *args, **kwargs)
        self._names = {id(parameter): name for name, parameter in named.items()}
        shapes = {name: self.wholes.shapes.get(name, tuple(parameter.shape)) for name, parameter in named.items()}
        self._sizes = {name: (shape[0], math.prod(shape[1:])) for name, shape in shapes.items()}
        if self.options.every == 1:
            del self.state["step"]
        for index, count in enumerate(self.state.get("step", ())):
            count.fill_(index % self.options.every)

    def move(self, params: list[Tensor], gradients: list[Tensor], state: dict[str, list[Tensor]], rate: float) -> None:
        """Block shape by block shape."""
        beta, every = self.options.momentum, self.options.every
        torch._foreach_mul_(state["momentum_buffer"], beta)
        torch._foreach_add_(state["momentum_buffer"], gradients)
        for count in state.get("step", ()):
            count.add_(1)
        due = [index for index in range(len(params)) if every == 1 or int(state["step"][index]) % every == 0]
        names = [self._names[id(params[index])] for index in due]
        ahead = [gradients[index].add(state["momentum_buffer"][index], alpha=beta) for index in due]
        updates = self.wholes.scatter(names, self._orthogonal(self.wholes.gather(names, ahead)))
        for index, name, update in zip(due, names, updates):
            params[index].mul_(1.0 - every * rate * self.options.weight_decay)
            params[index].add_(update.view_as(params[index]), alpha=-every * rate * self._scale(*self._sizes[name]))

    def _orthogonal(self, wholes: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The nearest orthogonal matrices, (M, N) each, block by block."""
        groups: dict[Any, list[tuple[str, Tensor]]] = {}
        for name, whole in wholes.items():
            blocks_KMN = apart(whole.reshape(self._sizes[name]), self.blocks.get(name, self._sizes[name]))
            key = name if self.precision == torch.float32 else tuple(blocks_KMN.shape[1:])
            groups.setdefault(key, []).append((name, blocks_KMN))
        found: dict[str, Tensor] = {}
        for group in groups.values():
            names, blocks = zip(*group)
            updates = torch.split(orthogonalise(torch.cat(blocks), self.precision), [len(block) for block in blocks])
            found |= {name: together(update, *self._sizes[name]) for name, update in zip(names, updates)}
        return found

    def _scale(self, num_rows: int, num_columns: int) -> float:
        if self.options.scale == "spectral":
            return math.sqrt(max(1.0, num_rows / num_columns))
        return _ADAMW_UPDATE_RMS * math.sqrt(max(num_rows, num_columns))


_RULES: dict[str, type[Rule]] = {"adam": Adam, "adamw": AdamW, "sgd": Sgd, "rmsprop": RmsProp}


class TurnOptimizer:
    """What moves the parameters of one turn: a rule for each learning rate, Muon's and AdamW's apart.

    Args:
        named: full parameter names and parameters, in a stable order.
        options: the recipe's optimiser.
        roles: which of them are token tables and heads (see `roles_of`); Muon leaves both to AdamW.
        precision: of matrix products, where a rule makes some.
        blocks: which of them hold several matrices (see `Family.blocks`); for Muon.
        wholes: where they are parts of weights: how a rule gets at the whole.
    """

    def __init__(
        self,
        named: Mapping[str, nn.Parameter],
        options: OptimizerOptions,
        roles: Mapping[str, Role] = MappingProxyType({}),
        precision: torch.dtype = torch.float32,
        blocks: Mapping[str, Block] = MappingProxyType({}),
        wholes: Wholes | None = None,
    ) -> None:
        self.named = dict(named)
        self.params = list(self.named.values())
        self.peak = options.lr
        self.rules = _make(self.named, options, roles, precision, blocks, wholes)

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
        for rule in self.rules:
            for key, values in rule.state.items():
                for index, name in enumerate(rule.names):
                    yield name, key, values, index


def _nothing_yet(key: str, parameter: nn.Parameter) -> Tensor:
    if key == "step":
        return torch.zeros((), dtype=torch.float32, device=parameter.device)
    return torch.zeros_like(parameter, requires_grad=False)


def roles_of(family: nn.Module) -> dict[str, Role]:
    """Full names of the weights that are token tables or heads.

    A table is an `Embedding`. A head makes logits: a module of transformers says which by `get_output_embeddings`. A
    weight that is both, because it is tied, is a table.
    """
    tables, heads = set(), set()
    for module in family.modules():
        if isinstance(module, nn.Embedding | nn.EmbeddingBag):
            tables.add(id(module.weight))
        head = getattr(module, "get_output_embeddings", lambda: None)()
        if isinstance(head, nn.Module):
            heads.add(id(head.weight))
    roles: dict[str, Role] = {}
    for name, parameter in family.named_parameters():
        if id(parameter) in tables:
            roles[name] = "embedding"
        elif id(parameter) in heads:
            roles[name] = "head"
    return roles


def _make(
    named: Mapping[str, nn.Parameter],
    options: OptimizerOptions,
    roles: Mapping[str, Role],
    precision: torch.dtype,
    blocks: Mapping[str, Block],
    wholes: Wholes | None,
) -> list[Rule]:
    """Parameters that move alike, together."""
    groups: dict[tuple[type[Rule], float], dict[str, nn.Parameter]] = {}
    for name, parameter in named.items():
        role = roles.get(name) or ("vector" if parameter.dim() < 2 else "matrix")
        kind = _RULES.get(options.name) or (Muon if role == "matrix" else AdamW)
        groups.setdefault((kind, _multiple(role, parameter, options)), {})[name] = parameter
    return [kind(group, options, multiple, precision, blocks, wholes) for (kind, multiple), group in groups.items()]


def _multiple(role: Role, parameter: Tensor, options: OptimizerOptions) -> float:
    """A parameter's learning rate as a multiple of the recipe's.

    Tables and heads are (vocabulary, width); AdamW's best rate for them goes as 1 / sqrt(width).
    """
    multiple = 1.0 if role == "matrix" else options.rates.get(role, 1.0)
    if options.width and role in ("embedding", "head"):
        multiple *= math.sqrt(options.width / parameter.shape[-1])
    return multiple
