"""The one training loop: it runs the turns of any family and knows none by name.

Its whole state is a position (step, draws): batch number d is `Loader.draw(d)` and every random number is a function of
(seed, stream, draw, rank), so there is nothing else to save and resumption costs the same at any step. What a turn
costs beyond forward, backward and optimiser is one fused norm and one number read back.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from motherlode.data.mixing import Draw, Draws
from motherlode.families import Batch, Family, Turn
from motherlode.modality import Modality
from motherlode.randomness import derive, torch_generator
from motherlode.recipe import TrainOptions
from motherlode.training import checkpoint, guards
from motherlode.training.distributed import ALONE, Ranks, share_of_batch
from motherlode.training.optimizers import TurnOptimizer, roles_of

if TYPE_CHECKING:
    from motherlode.training.sharding import Shares

_SLOW_DRAW_SEC = 5e-4


@dataclass(frozen=True)
class Setting:
    """How turns are executed; decided once a run, by measurement where the recipe says `auto`.

    Args:
        device: as torch names it.
        precision: "fp32" or "bf16" (autocast; weights stay float32).
        layout: "contiguous" or "channels_last".
        compile: whether the family's parts are compiled.
        threads: of torch's own pool; 0 leaves it as it is. Sums are rounded in an order that depends on it, so a
            resumed run must use the same number.
    """

    device: str = "cpu"
    precision: str = "fp32"
    layout: str = "contiguous"
    compile: bool = False
    threads: int = 0

    def __str__(self) -> str:
        words = [self.precision, self.layout, *(["compiled"] if self.compile else []), f"on {self.device}"]
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        return " ".join([*words, *([threads] if self.threads else [])])

    @contextmanager
    def pool(self) -> Iterator[None]:
        """Use this number of threads for the block."""
        before = torch.get_num_threads()
        if self.threads:
            torch.set_num_threads(self.threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def autocast(self) -> AbstractContextManager[Any]:
        """The precision in which losses are computed."""
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(torch.device(self.device).type, dtype=torch.bfloat16)

    @property
    def matrix_dtype(self) -> torch.dtype:
        """The precision of an optimiser's own matrix products."""
        return torch.bfloat16 if self.precision == "bf16" or self.device.startswith("cuda") else torch.float32

    def place(self, family: Family) -> Family:
        """Put a family on the device, in the memory layout, compiled where so decided."""
        family.to(self.device)
        if self.layout == "channels_last":
            for parameter in family.parameters():
                parameter.data = self.arrange(parameter.data)
        if self.compile:
            # A loss may pass through a part twice (slopes of two terms): its buffers must outlive the first pass.
            import torch._functorch.config as compiler

            compiler.donated_buffer = False
            for child in family.children():
                child.compile()
        return family

    def arrange(self, tensor: Tensor) -> Tensor:
        """A tensor with two or three spatial dimensions in this memory layout; others as they are."""
        if self.layout == "channels_last" and tensor.dim() in (4, 5):
            form = torch.channels_last if tensor.dim() == 4 else torch.channels_last_3d
            return tensor.contiguous(memory_format=form)
        return tensor


@dataclass
class Position:
    """Where a run stands.

    Args:
        step: training steps taken.
        draws: batches drawn; each turn draws one.
        samples: training samples seen: a batch for each time the busiest turn of a step ran.
    """

    step: int = 0
    draws: int = 0
    samples: int = 0

    def as_dict(self) -> dict[str, Any]:
        """For `state.json`."""
        return asdict(self)


class Feed:
    """Turns draws into batches on the device: normalised, augmented, in the right memory layout.

    Where a draw takes long enough to matter (or the device works on its own), the next one is fetched in a thread while
    this one is used; being a function of its number, it is the same batch either way.
    """

    def __init__(
        self, loader: Draws, modality: Modality, setting: Setting, *, augment: Sequence[str], seed: int, rank: int
    ) -> None:
        self._loader = loader
        self._modality = modality
        self._setting = setting
        self._augment = tuple(augment)
        self._seed = seed
        self._rank = rank
        self._pool: ThreadPoolExecutor | None = None
        self._next: tuple[int, Future[Draw]] | None = None
        self._fastest_sec = float("inf")
        self._num_timed = 0

    def batch(self, index: int) -> Batch:
        """Batch number `index`."""
        samples_np, labels_np, rows_np = self._fetch(index)
        samples = self._to_device(samples_np)
        normalised = self._modality.normalise(samples)
        if self._augment:
            rng = torch_generator(self._seed, "augment", index, self._rank, normalised.device)
            normalised = self._modality.augment(normalised, self._augment, 1.0, rng)
        labels = None if labels_np is None else self._to_device(labels_np)
        return Batch(self._setting.arrange(normalised), labels, self._to_device(rows_np))

    def _fetch(self, index: int) -> Draw:
        if self._next is not None and self._next[0] == index:
            draw = self._next[1].result()
        else:
            start = time.perf_counter()
            draw = self._loader.draw(index)
            self._fastest_sec = min(self._fastest_sec, time.perf_counter() - start)
            self._num_timed += 1
        if self._pool is None and self._pays():
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="draw")
        if self._pool is not None:
            self._next = (index + 1, self._pool.submit(self._loader.draw, index + 1))
        return draw

    def _pays(self) -> bool:
        return self._num_timed >= 3 and (self._setting.device != "cpu" or self._fastest_sec > _SLOW_DRAW_SEC)

    def _to_device(self, array: NDArray[Any]) -> Tensor:
        tensor = torch.from_numpy(array)
        if self._setting.device == "cpu":
            return tensor
        if self._setting.device.startswith("cuda"):
            tensor = tensor.pin_memory()
        return tensor.to(self._setting.device, non_blocking=True)

    def close(self) -> None:
        """Let the thread go."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool, self._next = None, None


class Engine:
    """A family, its optimisers and its position: `step` is one training step.

    Args:
        family: placed by `Setting.place`.
        feed: where batches come from.
        setting: how turns are executed.
        train: the recipe's section.
        seed: the run's seed.
        ranks: this process among those that train the model.
        shares: set where each of them holds a share of the family's weights.
    """

    def __init__(
        self,
        family: Family,
        feed: Feed,
        setting: Setting,
        train: TrainOptions,
        *,
        seed: int,
        ranks: Ranks = ALONE,
        shares: Shares | None = None,
    ) -> None:
        self.family = family
        self.feed = feed
        self.setting = setting
        self.train = train
        self.seed = seed
        self.ranks = ranks
        self.shares = shares
        self.position = Position()
        self.optimizers: dict[str, TurnOptimizer] = {}
        self.stop_votes = 0.0
        self._pending: dict[str, dict[str, Tensor]] = {}
        self._params = {name: parameter for name, parameter in family.named_parameters() if parameter.requires_grad}
        self._roles = roles_of(family)
        self._blocks = family.blocks()
        self._on_gpu = setting.device.startswith("cuda")
        share_of_batch(train.batch, train.accumulate, ranks)

    def step(self, factor: float, *, stopping: bool = False) -> dict[str, Tensor]:
        """One training step: every turn of the family once.

        Args:
            factor: share of the peak learning rate.
            stopping: this rank's wish to stop; `stop_votes` tells every rank the mean of all wishes.

        Returns:
            Scalars to log, as `turn/name` → 0-d tensor.

        Raises:
            DivergedError: a loss or a gradient is not finite; neither weights nor position have moved in that turn.
        """
        scalars: dict[str, Tensor] = {}
        turns = self.family.turns(self.position.step)
        for turn in turns:
            self._take(turn, factor, stopping, scalars)
        self.position.step += 1
        if turns:
            self.position.samples += self.train.batch * max(Counter(turn.name for turn in turns).values())
        return scalars

    def _take(self, turn: Turn, factor: float, stopping: bool, scalars: dict[str, Tensor]) -> None:
        draw = self.position.draws
        optimizer = self.optimizers.get(turn.name) or self._optimizer(turn)
        params = [self._params[name] for name in optimizer.named]
        for parameter in params:
            parameter.grad = None
        batch = self.feed.batch(draw)
        # Layers that know only the ambient generator (dropout) draw from a function of the position as well.
        torch.default_generator.manual_seed(derive(self.seed, "ambient", draw, self.ranks.rank))
        if self._on_gpu:
            torch.cuda.manual_seed(derive(self.seed, "ambient", draw, self.ranks.rank))
        rng = torch_generator(self.seed, turn.name, draw, self.ranks.rank, self.setting.device)
        loss, extra = self._backward(turn, batch, rng, params)
        if self.shares is not None:
            self.shares.hand_over(params, optimizer.params)
        gradients = [parameter.grad for parameter in optimizer.params if parameter.grad is not None]
        if self.ranks.world > 1:
            votes = torch.tensor(float(stopping), device=loss.device)
            # Gradients of shares were averaged on their way back.
            self.ranks.average([*([] if self.shares else gradients), loss, votes])
            self.stop_votes = float(votes)
        over_ranks = self.shares.norm if self.shares is not None else None
        norm = guards.gradient_norm(gradients, loss, turn.name, self.position.step, over_ranks)
        guards.clip(gradients, norm, self.train.clip)
        optimizer.step(factor)
        if turn.after is not None:
            with torch.no_grad():
                turn.after()
        self.position.draws += 1
        scalars[f"{turn.name}/loss"] = loss
        scalars[f"{turn.name}/gradient_norm"] = torch.tensor(norm)
        for name, value in extra.items():
            scalars[f"{turn.name}/{name}"] = value

    def _backward(
        self, turn: Turn, batch: Batch, rng: torch.Generator, params: Sequence[nn.Parameter]
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Leave the gradients of this turn's parameters in `.grad`.

        Naming the inputs keeps gradients from all others, and spares the weight gradients of a critic that only passes
        a signal on; unlike switching `requires_grad` it lets a turn keep a graph for a later one (shared fakes).
        Weights in shares cannot be named: whole ones, made of them, are the graph's inputs. All of them learn.
        """
        backward, inputs = torch.autograd.backward, None if self.shares else params
        if self.train.accumulate == 1:
            with self.setting.autocast():
                loss, extra = turn.loss(batch, rng)
            backward(loss, inputs=inputs)
            return loss.detach().clone(), {name: value.detach() for name, value in extra.items()}
        total = torch.zeros((), device=batch.rows.device)
        sums: dict[str, Tensor] = {}
        for part in split(batch, self.train.accumulate):
            with self.setting.autocast():
                loss, extra = turn.loss(part, rng)
            backward(loss / self.train.accumulate, inputs=inputs)
            total += loss.detach() / self.train.accumulate
            for name, value in extra.items():
                sums[name] = sums.get(name, 0.0) + value.detach() / self.train.accumulate
        return total, sums

    def _optimizer(self, turn: Turn) -> TurnOptimizer:
        names = {id(parameter): name for name, parameter in self._params.items()}
        named = {names[id(parameter)]: parameter for parameter in turn.module.parameters() if id(parameter) in names}
        wholes = None
        if self.shares is not None:
            wholes = self.shares.deal({name: parameter.shape for name, parameter in named.items()})
            named = {name: self.shares.own(parameter) for name, parameter in named.items()}
        options = self.train.optimizers.get(turn.name, self.train.optimizer)
        optimizer = TurnOptimizer(named, options, self._roles, self.setting.matrix_dtype, self._blocks, wholes)
        if turn.name in self._pending:
            state = self._pending.pop(turn.name)
            if self.shares is not None:
                state = {path: self.shares.part(value) for path, value in state.items()}
            optimizer.load(state)
        self.optimizers[turn.name] = optimizer
        return optimizer

    def whole(self) -> AbstractContextManager[Family | None]:
        """The whole model for the block, to be used by rank 0 alone. All ranks enter it together."""
        return nullcontext(self.family) if self.shares is None else self.shares.whole()

    def weights(self) -> dict[str, Tensor]:
        """The family's `state_dict`, whole on rank 0. All ranks ask together."""
        return self.family.state_dict() if self.shares is None else self.shares.weights()

    def load_weights(self, tensors: Mapping[str, Tensor], where: str) -> None:
        """Put whole weights into the family; see `checkpoint.load_model`."""
        checkpoint.load_model(self.family, tensors, where, dict if self.shares is None else self.shares.spread)

    def optimizer_state(self) -> dict[str, Tensor]:
        """All optimisers' states, whole on rank 0, as `turn/parameter/key` → tensor. All ranks ask together."""
        states = {name: self._whole_state(optimizer) for name, optimizer in self.optimizers.items()} | self._pending
        return {f"{turn}/{path}": value for turn, state in states.items() for path, value in state.items()}

    def _whole_state(self, optimizer: TurnOptimizer) -> dict[str, Tensor]:
        state = optimizer.state()
        if self.shares is None:
            return state
        shapes = {path: self._params[path.rpartition("/")[0]].shape for path in state}
        return {path: self.shares.gather(value, shapes[path]) for path, value in state.items()}

    def load_optimizer_state(self, flat: Mapping[str, Tensor]) -> None:
        """Put back what `optimizer_state` gave; each optimiser takes its part when its turn first comes."""
        self.optimizers.clear()
        self._pending.clear()
        for path, value in flat.items():
            turn, _, rest = path.partition("/")
            self._pending.setdefault(turn, {})[rest] = value

    def close(self) -> None:
        """Let the feed and the gradients go."""
        self.feed.close()
        for parameter in self._params.values():
            parameter.grad = None


def split(batch: Batch, parts: int) -> list[Batch]:
    """A batch in `parts` equal pieces, in order."""
    labels: Sequence[Tensor | None] = [None] * parts if batch.labels is None else batch.labels.chunk(parts)
    return [
        Batch(samples, label, rows)
        for samples, label, rows in zip(batch.samples.chunk(parts), labels, batch.rows.chunk(parts))
    ]


def learnable_count(module: nn.Module) -> int:
    """Parameters that learn."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
