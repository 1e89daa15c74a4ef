"""What a training costs: operations, seconds, energy and money, before (estimate) and after (`run.json`).

Operations are counted with torch's formulas, forward and backward, on a copy of the model with batches of 2 and 4: a
step of batch B costs a + c·B, so two small counts give any batch without computing one. Optimisers are not counted.
Energy is an estimate, and says what it assumed.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from motherlode.errors import RecipeError
from motherlode.execute import num_cores
from motherlode.families import Batch, Family, Turn
from motherlode.modality import SampleSpec
from motherlode.randomness import torch_generator
from motherlode.recipe import BudgetOptions, PriceOptions, TrainOptions

_PERIOD_STEPS = 16
_CORE_WATTS = 10.0
_BASE_WATTS = 20.0
_GPU_WATTS = 350.0
_JOULES_PER_KWH = 3.6e6


class FlopCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the operations of everything that runs inside it, by the formulas of `torch.utils.flop_counter`.

    `FlopCounterMode` gives the same number, by module, and imports the compiler to do so: two seconds.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        formula = flop_registry.get(func.overloadpacket)
        result = func(*args, **kwargs)
        if formula is not None:
            self.total += formula(*args, **kwargs, out_val=result)
        return result


@dataclass(frozen=True)
class FlopTable:
    """Operations of each training step over all ranks, repeating every `len(per_step)` steps."""

    per_step: tuple[float, ...]

    def until(self, step: int) -> float:
        """Operations of steps 0 to `step` - 1."""
        rounds, rest = divmod(step, len(self.per_step))
        return rounds * sum(self.per_step) + sum(self.per_step[:rest])

    @property
    def mean(self) -> float:
        """Operations of a step, on average."""
        return sum(self.per_step) / len(self.per_step)


def count_flops(
    build: Callable[[], Family], spec: SampleSpec, *, batch: int, parts: int, device: str = "cpu"
) -> FlopTable:
    """Count the operations of a family's steps, forward and backward, as torch counts them.

    A family whose second step differs from its first (a penalty taken on some steps only) is counted over 16 steps,
    which is exact where its period divides 16.

    Args:
        build: makes a fresh copy of the family on `device`; called twice.
        spec: shape of the samples.
        batch: samples a step, over all ranks.
        parts: pieces a batch is split into: ranks x accumulation.
        device: where to count.
    """
    small, large = (_count_steps(build(), spec, num, device) for num in (2, 4))
    slope = (large - small) / 2
    constant = small - 2 * slope
    return FlopTable(tuple(float(value) for value in parts * constant + batch * slope))


def _count_steps(family: Family, spec: SampleSpec, num: int, device: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    rng = torch_generator(0, "flops", num)
    if spec.tokens is None:
        samples = (torch.rand(num, *spec.shape, generator=rng) * 2 - 1).to(device)
    else:
        samples = torch.randint(spec.tokens.vocabulary, (num, *spec.shape), generator=rng).to(device)
    labels = (torch.arange(num) % spec.num_labels).to(device) if spec.num_labels else None
    batch = Batch(samples, labels, torch.arange(num, device=device))
    counts = [_count_step(family, step, batch, device) for step in range(2)]
    names = [[turn.name for turn in family.turns(step)] for step in range(_PERIOD_STEPS)]
    if counts[0] != counts[1] or any(name != names[0] for name in names):
        counts += [_count_step(family, step, batch, device) for step in range(2, _PERIOD_STEPS)]
    else:
        counts = counts[:1]
    return np.array(counts)


def _count_step(family: Family, step: int, batch: Batch, device: str) -> float:
    total = 0.0
    for index, turn in enumerate(family.turns(step)):
        total += _count_turn(turn, batch, torch_generator(0, turn.name, index, device=device))
    return total


def _count_turn(turn: Turn, batch: Batch, rng: torch.Generator) -> float:
    parameters = [parameter for parameter in turn.module.parameters() if parameter.requires_grad]
    with FlopCounter() as counter:
        loss, _ = turn.loss(batch, rng)
        torch.autograd.backward(loss, inputs=parameters)
    for parameter in parameters:
        parameter.grad = None
    return float(counter.total)


def samples_per_step(family: Family, batch: int) -> float:
    """Training samples a step sees, on average over the first steps: a batch for each run of its busiest turn."""
    busiest = []
    for step in range(_PERIOD_STEPS):
        names = [turn.name for turn in family.turns(step)]
        busiest.append(max((names.count(name) for name in names), default=0))
    return batch * sum(busiest) / _PERIOD_STEPS


def budget_steps(budget: BudgetOptions, *, samples: float, flops: float, seconds: float) -> int:
    """Steps a budget buys, at least one.

    Args:
        budget: exactly one of its fields is set.
        samples: training samples a step sees.
        flops: operations of a step.
        seconds: seconds a step takes, looks and checkpoints included.
    """
    if budget.steps is not None:
        return budget.steps
    if budget.samples is not None:
        return max(1, round(budget.samples / samples))
    if budget.flops is not None:
        if flops <= 0:
            raise RecipeError("a budget in flops needs a model whose operations torch can count", 0, "budget in steps")
        return max(1, round(budget.flops / flops))
    return max(1, int(60.0 * (budget.minutes or 0.0) / seconds))


def steps_left(train: TrainOptions, left_sec: float, *, step_sec: float, look_sec: float, save_sec: float) -> int:
    """Steps that fit into the rest of a budget in minutes, with the looks and checkpoints after the first look.

    Training gets at least half of what is left, should looks be that slow: then the budget is overrun.
    """
    looks, saves = 1.0 / train.sample_every - 1, 1.0 / train.checkpoint_every
    return max(0, int(max(left_sec / 2, left_sec - looks * look_sec - saves * save_sec) / step_sec))


def watts(price: PriceOptions, device: str, world: int) -> tuple[float, str]:
    """Power drawn by all ranks, and where the number comes from."""
    if price.watts:
        return price.watts, "price.watts of the recipe"
    if device.startswith("cuda"):
        return world * _GPU_WATTS, f"assumed {_GPU_WATTS:.0f} W a GPU with its share of the host; set price.watts"
    power = _BASE_WATTS + num_cores() * _CORE_WATTS
    return power, f"assumed {_BASE_WATTS:.0f} W + {_CORE_WATTS:.0f} W a core x {num_cores()}; set price.watts"


def bill(price: PriceOptions, device: str, world: int, seconds: float) -> dict[str, Any]:
    """Seconds as device hours, energy and money, for `run.json`."""
    power, assumption = watts(price, device, world)
    kwh = power * seconds / _JOULES_PER_KWH
    return {
        "device_hours": world * seconds / 3600,
        "gpu_hours": world * seconds / 3600 if device.startswith("cuda") else 0.0,
        "kwh": kwh,
        "kwh_assumption": assumption,
        "money": price.hour * seconds / 3600 + price.kwh * kwh,
        "currency": price.currency,
    }


def peak_memory_bytes(device: str) -> int:
    """The most memory this process has held: on the GPU where it trains on one, else resident."""
    if device.startswith("cuda"):
        return int(torch.cuda.max_memory_allocated(device))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
