"""Weights, gradients and optimiser states in shares, one a rank, for models too large for one device.

PyTorch's FSDP2 (`fully_shard`; Zhao et al. 2023, arXiv 2304.11277; stage 3 of Rajbhandari et al. 2020, "ZeRO") gives
each rank some rows of every weight, and a block's weights are whole only while it computes. What a rank keeps falls
with the number of ranks; the price is that every weight travels, in float32, twice a step. Between FSDP2 and the loop
stand plain tensors: optimisers move a rank's rows and know nothing of it. Muon alone needs whole matrices: they are
dealt out, each rank orthogonalises its own, and no work is done twice (`DealtOut`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Shard

from motherlode.errors import RecipeError

if TYPE_CHECKING:
    from motherlode.families import Family
    from motherlode.training.distributed import Ranks


class Shares:
    """A family whose weights lie in shares.

    Args:
        family: split in place; every rank holds the same weights before.
        twin: another of its kind, on the CPU, that stands for the whole model where one rank uses it alone: the family
            itself can only be used by all ranks at once. None on ranks that never do.
        ranks: this process among those that share.
        device: where the family is.

    Raises:
        RecipeError: the family does not say where it can be split.
    """

    def __init__(self, family: Family, twin: Family | None, ranks: Ranks, device: str) -> None:
        parts = family.shards()
        if not parts:
            raise RecipeError(
                "`train.shard` is for models of tokens, which are made of blocks that can be split",
                type(family).__name__.lower(),
                "leave it out: every rank then holds the whole model",
            )
        self._family, self._twin, self._device, self._leads = family, twin, device, ranks.leads
        self._mesh = init_device_mesh(torch.device(device).type, (ranks.world,))
        for part in parts:
            fully_shard(part, mesh=self._mesh)

    @contextmanager
    def whole(self) -> Iterator[Family | None]:
        """The whole model for the block, on ranks that have a twin; None on others. All ranks enter it."""
        weights = self.weights()
        if self._twin is None:
            yield None
            return
        self._twin.load_state_dict(weights)
        yield self._twin.to(self._device)
        self._twin.to("cpu")

    def own(self, parameter: nn.Parameter) -> nn.Parameter:
        """This rank's rows of a weight, as a parameter that shares their memory."""
        return nn.Parameter(_rows(parameter), requires_grad=False)

    def hand_over(self, parameters: Sequence[nn.Parameter], own: Sequence[nn.Parameter]) -> None:
        """Give this rank's rows (`own`) their gradients, from those of the weights."""
        for parameter, rows in zip(parameters, own):
            rows.grad = None if parameter.grad is None else _rows(parameter.grad)

    def gather(self, rows: Tensor, shape: Sequence[int]) -> Tensor:
        """The whole of what lies in shares, on the CPU of rank 0; a single number as it is. All ranks call it."""
        return self._kept(self._spread(rows, torch.Size(shape)) if rows.dim() else rows)

    def part(self, whole: Tensor) -> Tensor:
        """This rank's rows; a single number as it is."""
        if not whole.dim():
            return whole
        first, last = row_range(len(whole), self._mesh.get_local_rank(), self._mesh.size())
        return whole[first:last]

    def weights(self) -> dict[str, Tensor]:
        """The family's `state_dict`, whole, on the CPU of rank 0. All ranks call it."""
        return {name: self._kept(value) for name, value in self._family.state_dict().items()}

    def spread(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Whole weights as the family's `load_state_dict` takes them."""
        device, split = self._device, self._family.state_dict()
        return {
            name: self._spread(self.part(value).to(device), value.shape) if isinstance(split[name], DTensor) else value
            for name, value in tensors.items()
        }

    def norm(self, part: Tensor) -> Tensor:
        """The norm of a vector that lies in shares, from the norm of this rank's."""
        square = part.square()
        dist.all_reduce(square, group=self._mesh.get_group())
        return square.sqrt()

    def deal(self, shapes: Mapping[str, Sequence[int]]) -> DealtOut:
        """Whole matrices of these shapes, by name, for those who need them whole."""
        return DealtOut(shapes, self._mesh)

    def _kept(self, tensor: Tensor) -> Tensor:
        whole = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
        return whole.cpu() if self._leads else whole.new_empty(0)

    def _spread(self, rows: Tensor, shape: torch.Size) -> DTensor:
        stride = torch.empty(shape, device="meta").stride()
        return DTensor.from_local(rows, self._mesh, [Shard(0)], run_check=False, shape=shape, stride=stride)


class DealtOut:
    """Brings matrices that lie in shares together: number i of those asked for on rank i mod world.

    Args:
        shapes: of each whole matrix, by name.
        mesh: all ranks in a row.
    """

    def __init__(self, shapes: Mapping[str, Sequence[int]], mesh: DeviceMesh) -> None:
        self.shapes: Mapping[str, tuple[int, ...]] = {name: tuple(shape) for name, shape in shapes.items()}
        self._mesh = mesh
        self._rank, self._world = mesh.get_local_rank(), mesh.size()

    def gather(self, names: Sequence[str], parts: Sequence[Tensor]) -> dict[str, Tensor]:
        """The whole matrices that this rank is to work on. All ranks ask for the same ones.

        Args:
            names: of all of them.
            parts: float32, this rank's rows of each.
        """
        rows, dealt, mine = dict(zip(names, parts)), self._dealt(names), names[self._rank :: self._world]
        received = self._exchange(
            [rows[name] for part in dealt for name in part],
            [[self._numel(name, self._rank) for name in part] for part in dealt],
            [[self._numel(name, rank) for name in mine] for rank in range(self._world)],
        )
        return {name: torch.cat(pieces).view(self.shapes[name]) for name, *pieces in zip(mine, *received)}

    def scatter(self, names: Sequence[str], wholes: Mapping[str, Tensor]) -> list[Tensor]:
        """This rank's rows of every matrix; the inverse of `gather`."""
        dealt, mine = self._dealt(names), names[self._rank :: self._world]
        ranks = range(self._world)
        received = self._exchange(
            [wholes[name][slice(*row_range(len(wholes[name]), rank, self._world))] for rank in ranks for name in mine],
            [[self._numel(name, rank) for name in mine] for rank in ranks],
            [[self._numel(name, self._rank) for name in part] for part in dealt],
        )
        pieces = {name: piece for part, found in zip(dealt, received) for name, piece in zip(part, found)}
        return [pieces[name].view(-1, *self.shapes[name][1:]) for name in names]

    def _dealt(self, names: Sequence[str]) -> list[Sequence[str]]:
        return [names[rank :: self._world] for rank in range(self._world)]

    def _numel(self, name: str, rank: int) -> int:
        first, last = row_range(self.shapes[name][0], rank, self._world)
        return (last - first) * math.prod(self.shapes[name][1:])

    def _exchange(
        self, sent: Sequence[Tensor], sent_sizes: Sequence[Sequence[int]], received_sizes: Sequence[Sequence[int]]
    ) -> list[tuple[Tensor, ...]]:
        """What each rank has for this one, cut into pieces; sizes are numbers of elements, a list for each rank."""
        device = self._mesh.device_type
        flat = torch.cat([torch.empty(0, device=device), *(tensor.float().flatten() for tensor in sent)])
        totals = [sum(sizes) for sizes in received_sizes]
        received = torch.empty(sum(totals), device=device)
        group = self._mesh.get_group()
        dist.all_to_all_single(received, flat, totals, [sum(sizes) for sizes in sent_sizes], group=group)
        blocks = torch.split(received, totals)
        return [torch.split(block, list(sizes)) for block, sizes in zip(blocks, received_sizes)]


def row_range(num_rows: int, rank: int, world: int) -> tuple[int, int]:
    """The rows of a weight that a rank holds, first and behind the last: as `torch.chunk` cuts them."""
    size = math.ceil(num_rows / world)
    return min(rank * size, num_rows), min((rank + 1) * size, num_rows)


def _rows(tensor: Tensor) -> Tensor:
    return cast("DTensor", tensor).to_local().detach()
