"""Several processes train one model, each on its slice of every batch (`torchrun --nproc-per-node 2 …`).

After each backward pass the gradients are averaged over the ranks in flat buckets. `DistributedDataParallel` is not
used: its hooks expect one forward and one backward through one wrapped module an iteration, where a family runs several
turns through parts of itself, differentiates twice, and leaves parts without gradients. The price is that communication
does not overlap the backward pass. Gradients are averaged before the non-finite guard, and the loss travels in the same
buffer, so a NaN on one rank stops all of them at the same step.

Batch statistics: a normalisation layer sees its own rank's slice (as under plain DDP). Its running statistics, and all
other buffers, are rank 0's: they are broadcast before every look and every checkpoint, which makes resumption exact.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from motherlode.errors import MotherlodeError, TrainingError

_BUCKET_ELEMENTS = 8 << 20
Value = TypeVar("Value")


@dataclass(frozen=True)
class Ranks:
    """This process's place among those that train one model; alone by default."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0

    @property
    def leads(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    @torch.no_grad()
    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its mean over the ranks, in place. All ranks pass equal shapes in equal order."""
        if self.world == 1:
            return
        bucket: list[Tensor] = []
        num_elements = 0
        for tensor in tensors:
            bucket.append(tensor)
            num_elements += tensor.numel()
            if num_elements >= _BUCKET_ELEMENTS:
                self._average_bucket(bucket)
                bucket, num_elements = [], 0
        if bucket:
            self._average_bucket(bucket)

    def _average_bucket(self, bucket: list[Tensor]) -> None:
        flat = torch.cat([tensor.reshape(-1).float() for tensor in bucket])
        dist.all_reduce(flat)
        flat /= self.world
        offset = 0
        for tensor in bucket:
            tensor.copy_(flat[offset : offset + tensor.numel()].view(tensor.shape))
            offset += tensor.numel()

    @torch.no_grad()
    def broadcast(self, module: nn.Module, *, parameters: bool = True) -> None:
        """Give every rank rank 0's buffers and, where asked, its parameters."""
        if self.world == 1:
            return
        for tensor in (*(module.parameters() if parameters else ()), *module.buffers()):
            contiguous = tensor.detach().contiguous()
            dist.broadcast(contiguous, 0)
            tensor.copy_(contiguous)

    def slowest(self, seconds: float, device: str) -> float:
        """The most that any rank needed for the same work: what each decides by, so that all decide alike."""
        if self.world == 1:
            return seconds
        most = torch.tensor(seconds, dtype=torch.float32, device=device)
        dist.all_reduce(most, dist.ReduceOp.MAX)
        return float(most)

    def share(self, value: Value) -> Value:
        """Rank 0's value (JSON-like), on every rank."""
        if self.world == 1:
            return value
        box: list[Value] = [value]
        dist.broadcast_object_list(box, 0)
        return box[0]

    def lead(self, work: Callable[[], Value]) -> Value:
        """What `work` returns on rank 0, on every rank; its error too, so that none waits for a rank that failed.

        Raises:
            MotherlodeError: what `work` raised; on the other ranks a `TrainingError` that says the same.
        """
        if self.world == 1:
            return work()
        value, problem = None, ""
        error: MotherlodeError | None = None
        if self.leads:
            try:
                value = work()
            except MotherlodeError as caught:
                error, problem = caught, str(caught)
        value, problem = self.share((value, problem))
        if error is not None:
            raise error
        if problem:
            raise TrainingError(problem)
        return cast("Value", value)


ALONE = Ranks()


def start() -> Ranks:
    """Join the processes `torchrun` started, over NCCL where each has a GPU and gloo elsewhere; alone without it.

    Raises:
        TrainingError: the processes cannot find each other.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        return ALONE
    ranks = Ranks(int(os.environ["RANK"]), world, int(os.environ.get("LOCAL_RANK", "0")))
    if not dist.is_initialized():
        on_gpu = torch.cuda.is_available() and torch.cuda.device_count() > ranks.local_rank
        try:
            dist.init_process_group("nccl" if on_gpu else "gloo", rank=ranks.rank, world_size=world)
        except (RuntimeError, ValueError) as error:
            raise TrainingError(
                "the processes of one run must reach each other", str(error), "start them with torchrun"
            ) from error
    return ranks


def stop() -> None:
    """Leave the group of processes, where there is one."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def share_of_batch(batch: int, accumulate: int, ranks: Ranks) -> int:
    """Samples a rank holds at a time.

    Raises:
        TrainingError: the batch does not divide evenly over ranks and accumulation, so parts would weigh unequally.
    """
    parts = ranks.world * accumulate
    if batch % parts:
        raise TrainingError(
            "train.batch must be a multiple of ranks x train.accumulate",
            f"batch {batch}, {ranks.world} ranks, accumulate {accumulate}",
            f"use batch: {max(1, round(batch / parts)) * parts}",
        )
    return batch // parts
