"""Decides what an `Options` leaves open, says no where options contradict each other, and builds the networks."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from motherlode.errors import RecipeError
from motherlode.families.autoencoder.options import Options
from motherlode.modality import SampleSpec
from motherlode.networks.blocks import crop, num_dims, pad, seeded
from motherlode.networks.coder import Decoder, Encoder, Plan, Stride
from motherlode.networks.quantise import ScalarQuantiser, VectorQuantiser

_LATENT = 32
CODED = ("vq", "rvq", "fsq")
"""Kinds that make codes."""
_FSQ_LEVELS = {
    256: (8, 6, 5),
    1024: (8, 5, 5, 5),
    4096: (7, 5, 5, 5, 5),
    16384: (8, 8, 8, 6, 5),
    65536: (8, 8, 8, 5, 5, 5),
}
"""Of Mentzer et al. 2023, table 1, by the size of codebook that they come near to."""
_LEAST_SIDE = 4
_GRID_STRIDES: dict[int, tuple[int | tuple[int, ...], ...]] = {1: (2, 4, 4, 5), 2: (2, 2), 3: ((1, 2, 2), (2, 2, 2))}


def resolve(options: Options, spec: SampleSpec) -> Options:
    """The options with every "auto" and every default that depends on another option or on the samples decided.

    Raises:
        RecipeError: they contradict each other or the data.
    """
    dims = num_dims(spec.shape)
    variational = options.kind == "vae"
    coded = options.kind in CODED
    if coded and options.places == "vector":
        raise RecipeError(
            "codes lie on a grid", "places: vector", f"leave out `places`, or use another kind than {options.kind}"
        )
    places = options.places if options.places != "auto" else "grid" if coded else "vector"
    reconstruction = options.reconstruction
    if reconstruction == "auto":
        reconstruction = "gaussian" if variational else "l1" if dims == 1 else "l2"
    if variational and reconstruction in ("l1", "l2"):
        raise RecipeError(
            "a VAE weighs a likelihood against a divergence, both in nats",
            f"reconstruction: {reconstruction}",
            "set `reconstruction: gaussian` (l2 with a deviation), laplace (l1) or bernoulli",
        )
    if options.deviation != "learned" and options.deviation <= 0:
        raise RecipeError("a deviation must be above 0", options.deviation, "set `deviation: learned`")
    sound = dims == 1
    if options.lapped and not (sound and places == "grid"):
        raise RecipeError("a lapped transform is one of sounds on a grid", f"places: {places}", "set `lapped: false`")
    if options.emphasis and (not sound or reconstruction == "bernoulli"):
        raise RecipeError("emphasis is of the values of sounds", reconstruction, "set `emphasis: 0`")
    _check_critic(options)
    spectral = options.spectral
    windows = spectral.windows or ((64, 256, 1024) if sound else (8, 16))
    return options.model_copy(
        update={
            "latent": len(_levels(options)) if options.kind == "fsq" else options.latent or _LATENT,
            "places": places,
            "strides": _strides(options, spec, places),
            "stem": options.stem if options.stem is not None else (max(1, options.width // 2) if sound else 0),
            "activation": options.activation or ("elu" if sound else "silu"),
            "reconstruction": reconstruction,
            "spectral": spectral.model_copy(update={"windows": windows}),
        }
    )


def _check_critic(options: Options) -> None:
    """Refuse what a critic cannot do."""
    critic = options.critic
    if critic.samples and options.kind != "vae":
        raise RecipeError("only a vae has a prior to judge samples of", f"kind: {options.kind}", "set `samples: false`")
    judged = options.spectral.weight or options.perceptual.weight or (critic.kind != "none" and critic.feature_weight)
    if not options.reconstruction_weight and not judged:
        raise RecipeError(
            "a reconstruction must be judged by something",
            "reconstruction_weight: 0",
            "set `critic: {kind: patch}` (with its feature_weight), `perceptual` or `spectral`",
        )


def _levels(options: Options) -> tuple[int, ...]:
    """Levels of each number of a place of an fsq."""
    levels = options.codebook.levels or _FSQ_LEVELS.get(options.codebook.codes, ())
    if not levels:
        raise RecipeError(
            "an fsq needs its levels, whose product is the number of codes",
            f"codes: {options.codebook.codes}",
            f"set `codebook: {{levels: [8, 8, 8]}}`, or codes to one of: {', '.join(map(str, _FSQ_LEVELS))}",
        )
    if options.latent not in (None, len(levels)):
        raise RecipeError("an fsq has a number a level", f"latent: {options.latent}", "leave out `latent`")
    return levels


def build_quantiser(options: Options, seed: int) -> VectorQuantiser | ScalarQuantiser | None:
    """What makes codes of features, for resolved options; None for kinds without codes."""
    if options.kind not in CODED:
        return None
    book = options.codebook
    if options.kind == "fsq":
        return ScalarQuantiser(_levels(options))
    assert options.latent is not None
    num_quantisers = book.quantisers if options.kind == "rvq" else 1
    with seeded(seed, "codebook"):
        return VectorQuantiser(
            book.codes,
            options.latent,
            num_quantisers,
            decay=book.decay,
            revive=book.revive,
            estimator=book.estimator,
        )


def _strides(options: Options, spec: SampleSpec, places: str) -> tuple[Stride, ...]:
    dims = num_dims(spec.shape)
    given: Sequence[int | tuple[int, ...]] = options.strides
    if not given and places == "vector":
        given = _shrinking(spec.shape[1:], 4 if dims == 1 else 2)
    given = given or _GRID_STRIDES[dims]
    strides = tuple((step,) * dims if isinstance(step, int) else tuple(step) for step in given)
    if any(len(stride) != dims for stride in strides):
        raise RecipeError(
            f"a stride is one number, or one for each of {dims} axes", list(given), f"e.g. strides: {[2] * 2}"
        )
    total = tuple(math.prod(axis) for axis in zip(*strides))
    uneven = [side for side, step in zip(spec.shape[1:], total) if side % step]
    if uneven and places == "grid":
        nearest = [max(step, round(side / step) * step) for side, step in zip(spec.shape[1:], total)]
        raise RecipeError(
            f"on a grid, sides must be multiples of the stride {total}",
            f"shape {spec.shape}",
            f"train on sides {nearest} (`data.resolution`, or the dataset's own), or give other `strides`",
        )
    return strides


def _shrinking(sides: Sequence[int], step: int) -> list[Stride]:
    """Strides that take each axis, `step` by `step`, to about 4 places; short axes stop earlier."""
    left, strides = list(sides), list[Stride]()
    while max(left) >= step * _LEAST_SIDE:
        stride = tuple(step if side >= step * _LEAST_SIDE else 1 for side in left)
        left = [-(-side // by) for side, by in zip(left, stride)]
        strides.append(stride)
    return strides or [(1,) * len(left)]


def plan_of(options: Options, spec: SampleSpec) -> Plan:
    """What the coder of resolved options is made of."""
    assert options.activation is not None
    assert options.stem is not None
    return Plan(
        num_dims(spec.shape),
        _strides(options, spec, options.places),
        options.width,
        options.stem,
        options.blocks,
        options.norm,
        options.activation,
        options.up,
        options.lapped,
    )


def build_coder(options: Options, spec: SampleSpec, seed: int) -> tuple[nn.Module, nn.Module]:
    """Encoder and decoder for resolved options, initialised from `seed` alone."""
    plan = plan_of(options, spec)
    assert options.latent is not None
    num_out = options.latent * (2 if options.kind == "vae" else 1)
    with seeded(seed, "encoder"):
        encoder: nn.Module = (
            VectorEncoder(plan, spec.shape, num_out)
            if options.places == "vector"
            else Encoder(plan, spec.shape[0], num_out)
        )
    with seeded(seed, "decoder"):
        decoder: nn.Module = (
            VectorDecoder(plan, spec.shape, options.latent)
            if options.places == "vector"
            else Decoder(plan, options.latent, spec.shape[0])
        )
    return encoder, decoder


class Padded(nn.Module):
    """A network behind zeros around the samples."""

    def __init__(self, network: nn.Module, sides: Sequence[int]) -> None:
        super().__init__()
        self.network, self.sides = network, tuple(sides)

    def forward(self, samples: Tensor) -> Tensor:
        """Pad and pass on."""
        features: Tensor = self.network(pad(samples, self.sides))
        return features


class VectorEncoder(nn.Module):
    """Samples (B, *shape) to (B, F): a convolutional encoder, then one linear layer over all places."""

    def __init__(self, plan: Plan, shape: Sequence[int], num_features: int) -> None:
        super().__init__()
        grid, self.sides = _grid(plan, shape)
        self.encoder = Encoder(plan, shape[0], plan.widths[-1])
        self.act = plan.act(plan.widths[-1])
        self.mix = nn.Linear(plan.widths[-1] * math.prod(grid), num_features)

    def forward(self, samples: Tensor) -> Tensor:
        """Encode."""
        places = self.act(self.encoder(pad(samples, self.sides)))
        # Channels last in memory stay last in the matrix product: no copy.
        features: Tensor = self.mix(places.movedim(1, -1).flatten(1))
        return features


class VectorDecoder(nn.Module):
    """Vectors (B, F) to outputs (B, *shape): one linear layer to all places, then a convolutional decoder."""

    def __init__(self, plan: Plan, shape: Sequence[int], num_features: int) -> None:
        super().__init__()
        self.grid, _ = _grid(plan, shape)
        self.shape = tuple(shape)
        self.mix = nn.Linear(num_features, plan.widths[-1] * math.prod(self.grid))
        self.act = plan.act(plan.widths[-1])
        self.decoder = Decoder(plan, plan.widths[-1], shape[0])

    def forward(self, vectors: Tensor) -> Tensor:
        """Decode."""
        places = self.mix(vectors).unflatten(1, (*self.grid, -1)).movedim(-1, 1)
        return crop(self.decoder(self.act(places)), self.shape[1:])


def _grid(plan: Plan, shape: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Places along each axis, rounded up, and the padded sides they stand for."""
    grid = tuple(-(-side // step) for side, step in zip(shape[1:], plan.stride))
    return grid, tuple(places * step for places, step in zip(grid, plan.stride))


def latent_shape(options: Options, spec: SampleSpec) -> tuple[int, ...]:
    """Shape of what the decoder of resolved options takes, for one sample."""
    assert options.latent is not None
    if options.places == "vector":
        return (options.latent,)
    return (options.latent, *_grid(plan_of(options, spec), spec.shape)[0])
