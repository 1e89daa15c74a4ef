"""What a reconstruction is judged by besides its values: spectra, a pretrained network's features, a critic.

Terms add up with weights; those of the critic may be balanced: each pulls on the reconstruction as hard, in the norm of
its gradient there, as the distance of values does times its weight (EnCodec's balancer, over one batch). That costs one
backward pass through the critic, the one that the loss needs anyway.

Shape legend: B batch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from motherlode.errors import RecipeError
from motherlode.families.autoencoder.critics import feature_distance
from motherlode.families.autoencoder.options import Options
from motherlode.families.gan.features import load_extractor, look
from motherlode.families.gan.losses import LOSSES
from motherlode.modality import SampleSpec
from motherlode.networks.spectra import spectral_distance


class Perceptual:
    """Distance of feature maps: squared difference of features of length 1 at each place, mean (as LPIPS, unweighted).

    It is no module: the frozen extractor is no part of the model's state.

    Raises:
        MissingExtraError: the packages of the named extractor are not installed.
        RecipeError: samples are not pictures.
    """

    def __init__(self, extractor: str, resolution: int, spec: SampleSpec) -> None:
        if len(spec.shape) != 3:
            raise RecipeError(
                "a perceptual distance is one of pictures", f"shape {spec.shape}", "set `perceptual.weight: 0`"
            )
        self.resolution = resolution
        self.extractor = load_extractor(extractor).eval().requires_grad_(False)

    def __call__(self, made: Tensor, real: Tensor) -> Tensor:
        """Mean over the batch and the maps, 0-d."""
        with torch.no_grad():
            wanted = look(self.extractor, real, self.resolution)
        maps = look(self.extractor, made, self.resolution)
        parts = [
            (functional.normalize(one.float(), dim=1) - functional.normalize(other.float(), dim=1))
            .square()
            .sum(1)
            .mean()
            for one, other in zip(maps, wanted, strict=True)
        ]
        return torch.stack(parts).mean()


class Judges:
    """The further terms of an autoencoder's loss.

    Args:
        options: resolved.
        spec: of the samples.
        critic: None where there is none.
    """

    def __init__(self, options: Options, spec: SampleSpec, critic: nn.Module | None) -> None:
        self.options, self.critic = options, critic
        self.loss = LOSSES[options.critic.loss]
        seen = options.perceptual
        self.perceptual = Perceptual(seen.extractor, seen.resolution, spec) if seen.weight else None

    def __call__(
        self, outputs: Tensor, made: Tensor, real: Tensor, cost: Tensor, step: int, drawn: Tensor | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The sum of all terms, 0-d, and each term to log.

        Args:
            outputs: the decoder's, (B, *shape); `made` and `cost` are functions of them.
            made: reconstructions (B, *shape).
            real: samples (B, *shape).
            cost: of the values, 0-d: what the critic's pull is balanced against.
            step: of the training, for the ramp.
            drawn: samples of the prior (B, *shape), differentiable, that the critic judges too; or None.
        """
        total, logs = cost.new_zeros(()), {}
        if self.options.spectral.weight:
            logs["spectral"] = spectral_distance(made, real, self.options.spectral.windows)
            total = total + self.options.spectral.weight * logs["spectral"]
        if self.perceptual is not None:
            logs["perceptual"] = self.perceptual(made, real)
            total = total + self.options.perceptual.weight * logs["perceptual"]
        if self.critic is not None:
            ramp = min(1.0, step / max(1, self.options.critic.ramp_steps))
            for name, (weight, term, also) in self._terms(self.critic, made, real, drawn).items():
                logs[name] = term
                scaled, scale = self._weighed(ramp * weight, term, cost, outputs)
                total = total + scaled + (scale * also if also is not None else 0.0)
        return total, {name: value.detach() for name, value in logs.items()}

    def _terms(
        self, critic: nn.Module, made: Tensor, real: Tensor, drawn: Tensor | None
    ) -> dict[str, tuple[float, Tensor, Tensor | None]]:
        """By name a weight, a term of the reconstructions, and the same term of drawn samples."""
        asked = self.options.critic
        outputs, maps = critic(made)
        terms: dict[str, tuple[float, Tensor, Tensor | None]] = {}
        if asked.weight:
            also = None
            if drawn is not None:
                out_drawn, _ = critic(drawn)
                also = self.loss.generator(out_drawn, out_drawn)
            terms["verdict"] = (asked.weight, self.loss.generator(outputs, outputs), also)
        if asked.feature_weight:
            with torch.no_grad():
                _, wanted = critic(real)
            terms["features"] = (asked.feature_weight, feature_distance(maps, wanted), None)
        return terms

    def _weighed(self, weight: float, term: Tensor, cost: Tensor, outputs: Tensor) -> tuple[Tensor, Tensor | float]:
        """The weighted term and what it was multiplied by: its gradient at the outputs gets the length of that of
        `cost`, times the weight, where balanced."""
        if not weight or not self.options.critic.balance:
            return weight * term, weight
        (pull,) = torch.autograd.grad(cost, outputs, retain_graph=True)
        (own,) = torch.autograd.grad(term, outputs, retain_graph=True)
        scale = weight * pull.float().norm() / own.float().norm().clamp_min(1e-12)
        # Linear in the outputs with the gradient found: the critic is not passed through a second time.
        along = (outputs.float() * own.float()).sum()
        return scale * (term.detach() + along - along.detach()), scale


def critic_loss(judges: Judges, real: Tensor, fake: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """What the critic minimises on samples and on what the autoencoder made, and what to log."""
    assert judges.critic is not None
    out_real, _ = judges.critic(real)
    out_fake, _ = judges.critic(fake)
    logs = {"real": out_real.detach().mean(), "fake": out_fake.detach().mean()}
    return judges.loss.critic(out_real, out_fake), logs
