"""Builds the pair of networks an `Options` asks for, and says no where the options contradict each other."""

from __future__ import annotations

from torch import nn
from torch.nn.utils import parametrizations, parametrize

from motherlode.errors import RecipeError
from motherlode.families._backbone import read_backbone
from motherlode.families.gan.features import EncoderCritic, FeatureCritic, load_extractor
from motherlode.families.gan.options import Options
from motherlode.families.gan.penalties import Form, Penalty
from motherlode.modality import SampleSpec
from motherlode.networks.blocks import seeded
from motherlode.networks.conv import DcganCritic, DcganGenerator
from motherlode.networks.mlp import MlpCritic, MlpGenerator
from motherlode.networks.resnet import ResnetCritic, ResnetGenerator
from motherlode.networks.strided import Halve

_WIDTHS = {"mlp": 256, "dcgan": 32, "resnet": 16}
_GENERATORS = {"mlp": MlpGenerator, "dcgan": DcganGenerator, "resnet": ResnetGenerator}
_CRITICS = {"mlp": MlpCritic, "resnet": ResnetCritic}


def resolve(options: Options, spec: SampleSpec) -> Options:
    """The options with every "auto" and every default that depends on another option decided.

    Raises:
        RecipeError: they contradict each other or the data.
    """
    if options.conditional and not spec.num_labels:
        raise RecipeError(
            "a conditional model needs labelled data", "the dataset has no labels", "set `conditional: false`"
        )
    penalised = resolve_penalty(options).active
    tamed = penalised or options.clip is not None or options.spectral
    if options.loss == "wasserstein" and not tamed:
        raise RecipeError(
            "the Wasserstein loss needs a critic whose slope is bounded",
            "no penalty, no clipping, no spectral norm",
            "set `clip: 0.01`, `penalty: {gradient: 10}` or `spectral: true`",
        )
    _check_start(options)
    norm = options.critic_norm
    if norm == "auto":
        plain = options.network == "dcgan" and options.features is None and options.critic_start is None
        norm = "batch" if plain and not tamed else "none"
    if norm == "batch" and penalised:
        raise RecipeError(
            "a gradient penalty needs a critic that judges each sample by itself",
            "critic_norm: batch",
            "set `critic_norm: none`",
        )
    if norm == "batch" and (options.network != "dcgan" or options.features or options.critic_start):
        raise RecipeError("only the dcgan critic has batch norm", options.network, "leave out `critic_norm`")
    width = options.width or _WIDTHS[options.network]
    return options.model_copy(update={"critic_norm": norm, "width": width})


def _check_start(options: Options) -> None:
    """Refuse what a critic that begins from an encoder cannot be."""
    if options.critic_start is not None and options.features is not None:
        raise RecipeError("a critic looks through one network", "critic_start and features", "leave out one of the two")
    if options.critic_frozen and options.critic_start is None:
        raise RecipeError(
            "only an encoder can be frozen", "critic_frozen: true", "set `critic_start` to a run's folder"
        )


def resolve_penalty(options: Options) -> Penalty:
    """The weights and the form of the penalties; see `PenaltyOptions` for the defaults."""
    given = options.penalty
    gradient, r1, r2 = given.gradient, given.r1, given.r2
    if gradient is None:
        free = options.loss == "wasserstein" and options.clip is None and not options.spectral
        gradient = 10.0 if free else 0.0
    if r1 is None:
        r1 = 1.0 if options.loss == "relativistic" else 0.0
    if r2 is None:
        r2 = r1 if options.loss == "relativistic" else 0.0
    form: Form = "exact" if given.form == "auto" else given.form
    if form == "random" and gradient:
        raise RecipeError(
            "the gradient penalty needs the slope itself, and `random` gives its square alone",
            "penalty.form: random",
            "set `penalty.form: exact`",
        )
    return Penalty(gradient, r1, r2, form, given.every)


def build_networks(
    options: Options, spec: SampleSpec, seed: int, extractor: nn.Module | None = None
) -> tuple[nn.Module, nn.Module]:
    """Generator and critic for resolved options, initialised from `seed` alone.

    Args:
        options: resolved.
        spec: shape and labels of the samples.
        seed: of the initial weights.
        extractor: used by the feature critic instead of the one the options name.
    """
    sizes: dict[str, int] = {"width": options.width or _WIDTHS[options.network]}
    sizes["num_labels"] = spec.num_labels if options.conditional else 0
    if options.network == "resnet":
        sizes |= {"num_blocks": options.blocks, "group_size": options.group_size}
    with seeded(seed, "generator"):
        generator = _GENERATORS[options.network](spec.shape, num_noise=options.noise, **sizes)
    with seeded(seed, "critic"):
        critic: nn.Module
        if options.features is not None:
            critic = FeatureCritic(
                extractor or load_extractor(options.features.extractor),
                spec.shape,
                resolution=options.features.resolution,
                width=options.features.width,
                num_labels=sizes["num_labels"],
            )
        elif options.critic_start is not None:
            critic = EncoderCritic(
                read_backbone(options.critic_start, spec),
                spec.shape,
                num_labels=sizes["num_labels"],
                frozen=options.critic_frozen,
            )
        elif options.network == "dcgan":
            critic = DcganCritic(spec.shape, norm="batch" if options.critic_norm == "batch" else "none", **sizes)
        else:
            critic = _CRITICS[options.network](spec.shape, **sizes)
        if options.spectral:
            bound_spectrally(critic)
    return generator, critic


def bound_spectrally(critic: nn.Module) -> None:
    """Divide every weight matrix by its largest singular value, tracked by power iteration.

    Miyato et al. 2018, "Spectral Normalization for GANs". A kernel counts as a matrix of outputs by inputs x cells.
    """
    for module in list(critic.modules()):
        weighted = isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d | Halve)
        if weighted and not parametrize.is_parametrized(module):
            weight = module.get_parameter("weight")
            if not weight.any():  # a layer that starts at 0 has no direction to normalise
                nn.init.normal_(weight)
            parametrizations.spectral_norm(module)
