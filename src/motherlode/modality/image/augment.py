"""Random augmentation of normalised pictures, differentiable, the same on real and generated ones.

Follows two papers: DiffAugment (Zhao et al. 2020, arXiv:2006.10738: `color`, `translation`, `cutout`) and ADA (Karras
et al. 2020, arXiv:2006.06676: the rest, each applied to a sample with probability p). Moves of a sample are composed
into one matrix and resampled once; changes of colour into another. Resampling can be differentiated twice, so gradient
penalties may be taken through it. Bilinear resampling without ADA's wavelet filter is the trade: it softens a little.

Shape legend: N samples, C channels, H height, W width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from motherlode import registry
from motherlode.errors import RecipeError

GROUPS: dict[str, tuple[str, ...]] = {
    "diffaugment": ("color", "translation", "cutout"),
    "ada": (
        "flip", "rotate90", "translate", "scale", "spin", "stretch",
        "brightness", "contrast", "luma_flip", "hue", "saturation",
    ),
    "colour": ("color",),
}  # fmt: skip
"""Names that stand for several."""

MAX_SHIFT = 0.125
SCALE_SPREAD = 0.2
ROTATE_SPREAD_DEGREES = 10.0
LEAST_CROP = 0.8
BRIGHTNESS_SPREAD = 0.2
CONTRAST_SPREAD = 0.5
SATURATION_SPREAD = 1.0
NOISE_SPREAD = 0.1
CUTOUT_SIDE = 0.5


class Draws:
    """Per-sample random numbers, all from one generator, so that the same generator gives the same augmentation."""

    def __init__(self, samples: Tensor, strength: float, rng: torch.Generator) -> None:
        self.num, self.channels, self.height, self.width = samples.shape
        self.aspect = self.width / self.height
        self.strength = strength
        self.rng = rng
        self.options: dict[str, Any] = {
            "device": samples.device,
            "dtype": torch.float64 if samples.dtype == torch.float64 else torch.float32,
        }

    def uniform(self, low: float, high: float) -> Tensor:
        """(N,) in [low, high)."""
        return torch.rand(self.num, generator=self.rng, **self.options) * (high - low) + low

    def normal(self, spread: float) -> Tensor:
        """(N,) of standard deviation `spread` about 0."""
        return torch.randn(self.num, generator=self.rng, **self.options) * spread

    def applies(self) -> Tensor:
        """Bool (N,), each true with probability `strength`."""
        return torch.rand(self.num, generator=self.rng, **self.options) < self.strength

    def only_some(self, value: Tensor, otherwise: float) -> Tensor:
        """`value` where the augmentation applies, the neutral one elsewhere."""
        return torch.where(self.applies(), value, torch.full_like(value, otherwise))


def augment(samples: Tensor, policy: Sequence[str], strength: float, rng: torch.Generator) -> Tensor:
    """See `Modality.augment`.

    Args:
        samples: float, double or bfloat16 (N, C, H, W) in [-1, 1]; its memory format is kept.
        policy: names from `names()`.
        strength: probability in [0, 1].
        rng: on the device of `samples`.

    Raises:
        RecipeError: an unknown name, or a strength outside [0, 1].
    """
    chosen = resolve(policy)
    if not 0.0 <= strength <= 1.0:
        raise RecipeError("the strength of augmentation is a probability", strength, "choose a value from 0 to 1")
    if not chosen or strength == 0.0 or not samples.shape[0]:
        return samples
    layout = (
        torch.channels_last
        if samples.is_contiguous(memory_format=torch.channels_last) and not samples.is_contiguous()
        else torch.contiguous_format
    )
    draws = Draws(samples, strength, rng)
    result = samples.to(draws.options["dtype"])
    result = _turn(result, chosen, draws)
    result = _move(result, chosen, draws)
    result = _recolour(result, chosen, draws)
    for name in chosen:
        if name in _LAST:
            result = _LAST[name](result, draws)
    return result.to(samples.dtype).contiguous(memory_format=layout)


def names() -> list[str]:
    """Every augmentation and group, sorted."""
    return sorted({*_TURNS, *_MOVES, *_COLOURS, *_LAST, *GROUPS})


def resolve(policy: Sequence[str]) -> tuple[str, ...]:
    """Groups replaced by their members, duplicates removed, order kept.

    Raises:
        RecipeError: an unknown name, with the nearest known one.
    """
    known = names()
    chosen: dict[str, None] = {}
    for name in policy:
        if name not in known:
            raise RecipeError("there is no augmentation of this name", name, registry.did_you_mean(name, known))
        chosen.update(dict.fromkeys(GROUPS.get(name, (name,))))
    return tuple(chosen)


def _each(value_N: Tensor) -> Tensor:
    return value_N.view(-1, 1, 1, 1)


# Turns: exact, no resampling.


def _turn(samples: Tensor, chosen: Sequence[str], draws: Draws) -> Tensor:
    if "flip" in chosen:
        # ADA draws "apply" and then one of two states, so a sample is mirrored with probability strength / 2.
        mirrored_N = draws.applies() & (draws.uniform(0, 1) < 0.5)
        samples = torch.where(_each(mirrored_N), samples.flip(-1), samples)
    if "rotate90" in chosen and samples.shape[-1] == samples.shape[-2]:
        quarter_N = draws.only_some(draws.uniform(0, 4).floor(), 0.0)
        turned = samples
        for quarters in (1, 2, 3):
            turned = torch.where(_each(quarter_N == quarters), samples.rot90(quarters, (-2, -1)), turned)
        samples = turned
    return samples


_TURNS = ("flip", "rotate90")


# Moves: each gives the matrix from output to input coordinates, in units of half the picture's height.


def _matrix(draws: Draws, *rows: tuple[Tensor | float, Tensor | float, Tensor | float]) -> Tensor:
    zero = torch.zeros(draws.num, **draws.options)
    flat = [zero + entry for row in (*rows, (0.0, 0.0, 1.0)) for entry in row]
    return torch.stack(flat, dim=1).view(-1, 3, 3)


def _rotation(draws: Draws, angle_N: Tensor) -> Tensor:
    cos, sin = angle_N.cos(), angle_N.sin()
    return _matrix(draws, (cos, -sin, 0.0), (sin, cos, 0.0))


def _translate(draws: Draws) -> Tensor:
    """Whole pixels, so that nothing is softened."""
    steps = draws.height * MAX_SHIFT
    pixel = 2.0 / draws.height
    shift_x = draws.uniform(-steps * draws.aspect, steps * draws.aspect).round() * pixel
    shift_y = draws.uniform(-steps, steps).round() * pixel
    applies_N = draws.applies()
    return _matrix(draws, (1.0, 0.0, shift_x * applies_N), (0.0, 1.0, shift_y * applies_N))


def _scale(draws: Draws) -> Tensor:
    factor = draws.only_some(draws.normal(SCALE_SPREAD).exp2(), 1.0)
    return _matrix(draws, (1 / factor, 0.0, 0.0), (0.0, 1 / factor, 0.0))


def _rotate(draws: Draws) -> Tensor:
    return _rotation(draws, draws.only_some(draws.normal(math.radians(ROTATE_SPREAD_DEGREES)), 0.0))


def _spin(draws: Draws) -> Tensor:
    return _rotation(draws, draws.only_some(draws.uniform(-math.pi, math.pi), 0.0))


def _stretch(draws: Draws) -> Tensor:
    """Wider by what it is made lower."""
    factor = draws.only_some(draws.normal(SCALE_SPREAD).exp2(), 1.0)
    return _matrix(draws, (1 / factor, 0.0, 0.0), (0.0, factor, 0.0))


def _crop(draws: Draws) -> Tensor:
    """A window of 80 to 100 % of the sides, anywhere inside, enlarged to the whole."""
    side = draws.only_some(draws.uniform(LEAST_CROP, 1.0), 1.0)
    room = 1.0 - side
    shift_x, shift_y = draws.uniform(-1.0, 1.0) * room * draws.aspect, draws.uniform(-1.0, 1.0) * room
    return _matrix(draws, (side, 0.0, shift_x), (0.0, side, shift_y))


_MOVES: dict[str, Callable[[Draws], Tensor]] = {
    "translate": _translate,
    "scale": _scale,
    "rotate": _rotate,
    "stretch": _stretch,
    "spin": _spin,
    "crop": _crop,
}


def _move(samples: Tensor, chosen: Sequence[str], draws: Draws) -> Tensor:
    moves = [name for name in chosen if name in _MOVES]
    if not moves:
        return samples
    matrix_N33 = _matrix(draws, (1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
    for name in moves:
        matrix_N33 = matrix_N33 @ _MOVES[name](draws)
    # To torch's coordinates, in which both axes run from -1 to 1.
    units = torch.tensor([draws.aspect, 1.0, 1.0], **draws.options)
    matrix_N33 = matrix_N33 * units / units[:, None]
    grid_NHW2 = functional.affine_grid(
        matrix_N33[:, :2], [draws.num, 1, draws.height, draws.width], align_corners=False
    )
    return resample(samples, grid_NHW2, "reflection")


class _Resample(torch.autograd.Function):
    """Bilinear resampling, linear in the picture, hence differentiable any number of times; the grid is a constant."""

    @staticmethod
    def forward(ctx: Any, samples: Tensor, grid: Tensor, padding: int) -> Tensor:
        ctx.save_for_backward(grid)
        ctx.padding, ctx.shape = padding, samples.shape
        return torch.grid_sampler(samples, grid, 0, padding, False)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (grid,) = ctx.saved_tensors
        return _ResampleBackward.apply(gradients[0], grid, ctx.padding, ctx.shape), None, None  # type: ignore[no-untyped-call]


class _ResampleBackward(torch.autograd.Function):
    """The transpose of `_Resample`; its own gradient is `_Resample` again."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, grid: Tensor, padding: int, shape: torch.Size) -> Tensor:
        ctx.save_for_backward(grid)
        ctx.padding = padding
        nothing = gradient.new_zeros(()).expand(shape)  # its values are not read, only its shape
        result: Tensor = torch.ops.aten.grid_sampler_2d_backward(
            gradient.contiguous(), nothing, grid, 0, padding, False, (True, False)
        )[0]
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (grid,) = ctx.saved_tensors
        return _Resample.apply(gradients[0], grid, ctx.padding), None, None, None  # type: ignore[no-untyped-call]


_PADDINGS = {"zeros": 0, "border": 1, "reflection": 2}


def resample(samples: Tensor, grid_NHW2: Tensor, padding: str) -> Tensor:
    """Bilinear samples (N, C, H, W) at the grid's points; twice differentiable with respect to `samples`."""
    result: Tensor = _Resample.apply(samples, grid_NHW2, _PADDINGS[padding])  # type: ignore[no-untyped-call]
    return result


# Colours: each gives a channel matrix and an offset; they are composed and applied once.


def _luma(draws: Draws) -> Tensor:
    """The matrix that projects a pixel on grey."""
    return torch.full((draws.channels, draws.channels), 1.0 / draws.channels, **draws.options)


def _brightness(draws: Draws) -> tuple[Tensor | None, Tensor | None]:
    return None, draws.only_some(draws.normal(BRIGHTNESS_SPREAD), 0.0)


def _contrast(draws: Draws) -> tuple[Tensor | None, Tensor | None]:
    factor = draws.only_some(draws.normal(CONTRAST_SPREAD).exp2(), 1.0)
    return factor.view(-1, 1, 1) * torch.eye(draws.channels, **draws.options), None


def _luma_flip(draws: Draws) -> tuple[Tensor | None, Tensor | None]:
    """Mirror at mid-grey along the grey axis (a Householder reflection), with half the strength as `flip` does."""
    flipped_N = draws.applies() & (draws.uniform(0, 1) < 0.5)
    return torch.eye(draws.channels, **draws.options) - 2.0 * flipped_N.view(-1, 1, 1) * _luma(draws), None


def _hue(draws: Draws) -> tuple[Tensor | None, Tensor | None]:
    """Turn colour around the grey axis by any angle (Rodrigues); nothing where there is no colour."""
    if draws.channels != 3:
        return None, None
    angle = draws.only_some(draws.uniform(-math.pi, math.pi), 0.0).view(-1, 1, 1)
    grey = _luma(draws)
    third = 1.0 / math.sqrt(3.0)
    cross = torch.tensor([[0.0, -third, third], [third, 0.0, -third], [-third, third, 0.0]], **draws.options)
    return angle.cos() * (torch.eye(3, **draws.options) - grey) + grey + angle.sin() * cross, None


def _saturation(draws: Draws) -> tuple[Tensor | None, Tensor | None]:
    if draws.channels == 1:
        return None, None
    factor = draws.only_some(draws.normal(SATURATION_SPREAD).exp2(), 1.0).view(-1, 1, 1)
    grey = _luma(draws)
    return grey + factor * (torch.eye(draws.channels, **draws.options) - grey), None


_COLOURS: dict[str, Callable[[Draws], tuple[Tensor | None, Tensor | None]]] = {
    "brightness": _brightness,
    "contrast": _contrast,
    "luma_flip": _luma_flip,
    "hue": _hue,
    "saturation": _saturation,
}


def _recolour(samples: Tensor, chosen: Sequence[str], draws: Draws) -> Tensor:
    colours = [name for name in chosen if name in _COLOURS]
    if not colours:
        return samples
    channels = samples.shape[1]
    matrix = torch.eye(draws.channels, **draws.options).expand(draws.num, -1, -1)
    offset = torch.zeros(draws.num, channels, 1, **draws.options)
    for name in colours:
        factor, shift = _COLOURS[name](draws)
        if factor is not None:
            matrix, offset = factor @ matrix, factor @ offset
        if shift is not None:
            offset = offset + shift.view(-1, 1, 1)
    if channels == 1:
        return samples * matrix.view(-1, 1, 1, 1) + offset.view(-1, 1, 1, 1)
    return torch.baddbmm(offset, matrix, samples.flatten(2)).view(samples.shape)


# Last: on pixels, in the order of the policy.


def _diffaugment_color(samples: Tensor, draws: Draws) -> Tensor:
    """DiffAugment's brightness, saturation and contrast, in this order."""
    samples = samples + _each(draws.only_some(draws.uniform(-0.5, 0.5), 0.0))
    grey = samples.mean(dim=1, keepdim=True)
    samples = grey + (samples - grey) * _each(draws.only_some(draws.uniform(0.0, 2.0), 1.0))
    mean = samples.mean(dim=(1, 2, 3), keepdim=True)
    return mean + (samples - mean) * _each(draws.only_some(draws.uniform(0.5, 1.5), 1.0))


def _diffaugment_translation(samples: Tensor, draws: Draws) -> Tensor:
    """DiffAugment's shift by up to an eighth, mid-grey coming in."""
    applies_N = draws.applies()
    steps_x, steps_y = int(draws.width * MAX_SHIFT + 0.5), int(draws.height * MAX_SHIFT + 0.5)
    shift_x = draws.uniform(-steps_x, steps_x + 1).floor() * applies_N * (2.0 / draws.width)
    shift_y = draws.uniform(-steps_y, steps_y + 1).floor() * applies_N * (2.0 / draws.height)
    matrix_N33 = _matrix(draws, (1.0, 0.0, shift_x), (0.0, 1.0, shift_y))
    grid_NHW2 = functional.affine_grid(
        matrix_N33[:, :2], [draws.num, 1, draws.height, draws.width], align_corners=False
    )
    return resample(samples, grid_NHW2, "zeros")


def _cutout(samples: Tensor, draws: Draws) -> Tensor:
    """A square of half the sides, centred anywhere, becomes mid-grey."""
    inside = []
    for size in samples.shape[-2:]:
        side = int(size * CUTOUT_SIDE + 0.5)
        start_N = draws.uniform(0, size + (1 - side % 2)).floor() - side // 2
        place = torch.arange(size, device=samples.device) - start_N.view(-1, 1)
        inside.append((place >= 0) & (place < side))
    hidden_NHW = inside[0][:, :, None] & inside[1][:, None, :] & draws.applies().view(-1, 1, 1)
    return samples * (~hidden_NHW).unsqueeze(1)


def _noise(samples: Tensor, draws: Draws) -> Tensor:
    """Gaussian, its spread itself drawn for each sample."""
    spread = _each(draws.only_some(draws.normal(NOISE_SPREAD).abs(), 0.0))
    noise = torch.randn(samples.shape, generator=draws.rng, **draws.options)
    return samples + noise * spread


_LAST: dict[str, Callable[[Tensor, Draws], Tensor]] = {
    "color": _diffaugment_color,
    "translation": _diffaugment_translation,
    "cutout": _cutout,
    "noise": _noise,
}
