"""One optimiser a turn, with a state that can be written flat and read back without unpickling anything.

Adam, AdamW, SGD and RMSprop are torch's, fused where torch can fuse them and `foreach` elsewhere. Muon is our own
(Keller Jordan 2024; Liu et al. 2025, "Muon is scalable", eq. 4): matrices, convolutions among them, move by an
orthogonalised momentum; biases, gains and embeddings by AdamW. Its scale rule gives every update the size an AdamW
update has, so one learning rate serves both halves.

Shape legend: M rows, N columns of a weight seen as a matrix.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, overload

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

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


class Muon(Optimizer):
    """Momentum, orthogonalised: W ← W − lr (s·O(βM + G) + λW), M ← βM + G.

    s = 0.2 sqrt(max(M, N)): an orthogonal M x N matrix has entries of root mean square 1/sqrt(max(M, N)), and 0.2 is
    what an AdamW update has, so learning rates and weight decay carry over from AdamW (Liu et al. 2025, eq. 4).
    Weights with more than two dimensions count as matrices of their first dimension by the rest.

    Args:
        params: weights with at least two dimensions.
        lr: learning rate, on AdamW's scale.
        momentum: β in [0, 1); Nesterov's look-ahead is always used.
        weight_decay: λ, decoupled.
    """

    def __init__(self, params: Any, lr: float, momentum: float = 0.95, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Any) -> Any: ...
    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Move every weight that has a gradient."""
        for group in self.param_groups:
            rate, beta, decay = group["lr"], group["momentum"], group["weight_decay"]
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(weight)
                buffer = state["momentum_buffer"]
                buffer.mul_(beta).add_(weight.grad)
                ahead_MN = weight.grad.add(buffer, alpha=beta).reshape(weight.shape[0], -1)
                update = orthogonalise(ahead_MN).view(weight.shape)
                if decay:
                    weight.mul_(1.0 - rate * decay)
                weight.add_(update, alpha=-rate * _ADAMW_UPDATE_RMS * math.sqrt(max(ahead_MN.shape)))


class TurnOptimizer:
    """What moves the parameters of one turn: one torch optimiser, or two for Muon.

    Args:
        named: full parameter names (as in the family's `state_dict`) and parameters, in a stable order.
        embeddings: those of them that are look-up tables; Muon leaves them to AdamW.
        options: the recipe's optimiser.
    """

    def __init__(
        self, named: Mapping[str, nn.Parameter], options: OptimizerOptions, embeddings: frozenset[str] = frozenset()
    ) -> None:
        self.named = dict(named)
        self.params = list(self.named.values())
        self.peak = options.lr
        self.parts = list(_make(self.named, options, embeddings))
        self._owner = {id(p): part for part in self.parts for group in part.param_groups for p in group["params"]}

    def step(self, factor: float) -> None:
        """Move the parameters, with `factor` times the peak learning rate."""
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = self.peak * factor
            part.step()

    def state(self) -> dict[str, Tensor]:
        """Everything remembered, as `parameter/key` → tensor; scalars as 0-d tensors."""
        flat = {}
        for name, parameter in self.named.items():
            for key, value in self._owner[id(parameter)].state.get(parameter, {}).items():
                if value is not None:
                    flat[f"{name}/{key}"] = value if isinstance(value, Tensor) else torch.tensor(value)
        return flat

    def load(self, flat: Mapping[str, Tensor]) -> None:
        """Put back what `state` gave, in the memory layout and on the device of each parameter.

        Raises:
            TrainingError: a tensor belongs to no parameter here, or has another shape.
        """
        for path, value in flat.items():
            name, _, key = path.rpartition("/")
            parameter = self.named.get(name)
            if parameter is None or (value.dim() and value.shape != parameter.shape):
                raise TrainingError(
                    "the optimiser's state must belong to this model", path, "resume with the recipe that wrote it"
                )
            if value.dim():
                value = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
            self._owner[id(parameter)].state[parameter][key] = value.clone()


def embedding_names(family: nn.Module) -> frozenset[str]:
    """Full names of the weights that are look-up tables."""
    return frozenset(
        f"{name}.weight" if name else "weight"
        for name, module in family.named_modules()
        if isinstance(module, nn.Embedding | nn.EmbeddingBag)
    )


def _make(
    named: Mapping[str, nn.Parameter], options: OptimizerOptions, embeddings: frozenset[str]
) -> Iterator[Optimizer]:
    params = list(named.values())
    device = params[0].device.type
    fast: dict[str, Any] = {"fused": True} if device in ("cpu", "cuda") else {"foreach": True}
    lr, decay = options.lr, options.weight_decay
    if options.name == "adam":
        yield Adam(params, lr=lr, betas=options.betas, eps=options.eps, weight_decay=decay, **fast)
    elif options.name == "adamw":
        yield AdamW(params, lr=lr, betas=options.betas, eps=options.eps, weight_decay=decay, **fast)
    elif options.name == "sgd":
        yield SGD(params, lr=lr, momentum=options.momentum, weight_decay=decay, **fast)
    elif options.name == "rmsprop":
        yield RMSprop(params, lr=lr, alpha=0.99, eps=options.eps, weight_decay=decay, foreach=True)
    else:
        matrices = [p for name, p in named.items() if p.dim() >= 2 and name not in embeddings]
        chosen = {id(p) for p in matrices}
        others = [p for p in params if id(p) not in chosen]
        if matrices:
            yield Muon(matrices, lr=lr, momentum=options.momentum, weight_decay=decay)
        if others:
            yield AdamW(others, lr=lr, betas=options.betas, eps=options.eps, weight_decay=decay, **fast)
