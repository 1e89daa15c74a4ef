"""Random augmentation of normalised clips: every frame of a clip is altered alike, so that motion stays motion.

Built on the pictures' augmentations and as differentiable as they are: for moves a clip is a picture of C * F channels,
for colours one of F * H rows. In time a clip may be reversed, or shown at another speed (two thirds to three halves);
where it ends too early it turns back. Both change what a caption or a label may say of the motion: ask for them.

Shape legend: N clips, C channels, F frames, H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from motherlode import registry
from motherlode.errors import RecipeError
from motherlode.modality.image import augment as pictures

TIMES = ("reverse", "speed")
MOST_SPEED = 1.5
_OF_COLOUR = frozenset({"brightness", "contrast", "luma_flip", "hue", "saturation", "color", "noise"})


def augment(samples: Tensor, policy: Sequence[str], strength: float, rng: torch.Generator) -> Tensor:
    """See `Modality.augment`.

    Args:
        samples: float, double or bfloat16 (N, C, F, H, W) in [-1, 1].
        policy: names from `names()`.
        strength: probability in [0, 1].
        rng: on the device of `samples`.

    Raises:
        RecipeError: an unknown name, or a strength outside [0, 1].
    """
    known = names()
    for name in policy:
        if name not in known:
            raise RecipeError("there is no augmentation of this name", name, registry.did_you_mean(name, known))
    still = pictures.resolve([name for name in policy if name not in TIMES])
    if not 0.0 <= strength <= 1.0:
        raise RecipeError("the strength of augmentation is a probability", strength, "choose a value from 0 to 1")
    if not samples.shape[0] or not strength:
        return samples
    shape = samples.shape
    if moves := [name for name in still if name not in _OF_COLOUR]:
        samples = pictures.augment(samples.flatten(1, 2), moves, strength, rng).view(shape)
    if colours := [name for name in still if name in _OF_COLOUR]:
        samples = pictures.augment(samples.flatten(2, 3), colours, strength, rng).view(shape)
    return _in_time(samples, [name for name in TIMES if name in policy], strength, rng)


def names() -> list[str]:
    """Every augmentation and group, sorted."""
    return sorted({*pictures.names(), *TIMES})


def _in_time(samples: Tensor, chosen: Sequence[str], strength: float, rng: torch.Generator) -> Tensor:
    """Take other frames in the place of each, whole ones: nothing is blended."""
    if not chosen:
        return samples
    num, _, frames = samples.shape[:3]
    place_NF = torch.arange(frames, dtype=torch.float32, device=samples.device).expand(num, frames)
    if "speed" in chosen:
        draw_N = torch.rand(num, generator=rng, device=samples.device) * 2 - 1
        applies_N = torch.rand(num, generator=rng, device=samples.device) < strength
        speed_N = torch.where(applies_N, MOST_SPEED**draw_N, torch.ones_like(draw_N))
        start_N = torch.rand(num, generator=rng, device=samples.device) * (1 - speed_N).clamp(min=0) * (frames - 1)
        place_NF = start_N[:, None] + place_NF * speed_N[:, None]
        place_NF = (frames - 1) - ((frames - 1) - place_NF).abs()
    if "reverse" in chosen:
        applies_N = torch.rand(num, generator=rng, device=samples.device) < strength
        turned_N = applies_N & (torch.rand(num, generator=rng, device=samples.device) < 0.5)
        place_NF = torch.where(turned_N[:, None], (frames - 1) - place_NF, place_NF)
    row_NF = place_NF.round().long().clamp(0, frames - 1)
    return samples.gather(2, row_NF.view(num, 1, frames, 1, 1).expand(samples.shape))
