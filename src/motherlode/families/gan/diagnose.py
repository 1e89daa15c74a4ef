"""What the state of the game says: overfitting gap, saturation, diversity, and the remedies.

Everything is read off one batch of training samples, one of held-out samples and one of fakes, without a gradient
except the critic's slope: about the price of one training step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from motherlode.families.gan.options import Options
from motherlode.networks.blocks import batch_statistics

_SATURATED = 0.98
_PATIENCE = 3
_LEAST_DIVERSITY = 0.5
_LARGE_GAP = 0.5


def diagnose(
    critic: nn.Module, train: Tensor, heldout: Tensor, fake: Tensor, labels: tuple[Tensor | None, Tensor | None]
) -> dict[str, float]:
    """Look at critic and generator.

    Args:
        critic: judged in its training mode, leaving no trace.
        train: samples (B, *shape) the critic has learnt from.
        heldout: samples (B, *shape) it has not.
        fake: generated samples (B, *shape), with the labels of `heldout`.
        labels: of `train` and of `heldout`, or None.

    Returns:
        critic_train, critic_heldout, critic_fake: mean outputs.
        accuracy: share of real-fake pairs the critic ranks rightly; 0.5 is chance, 1 is saturation.
        gap: (train − heldout) / (train − fake) of the mean outputs, in [-1, 1]; 0: the critic has learnt nothing by
            heart; 1: it takes held-out samples for fakes (Karras et al. 2020, the heuristic r_v).
        diversity: mean distance between fakes over that between held-out samples; 1 is right, 0 is collapse.
        slope: mean ‖∇D‖ at the fakes: what the generator is taught with.
    """
    with batch_statistics(critic):
        with torch.no_grad():
            out_train, out_heldout = _outputs(critic, train, labels[0]), _outputs(critic, heldout, labels[1])
        with torch.enable_grad():
            inputs = fake.detach().requires_grad_()
            out_fake = _outputs(critic, inputs, labels[1])
            (gradient,) = torch.autograd.grad(out_fake.sum(), inputs)
    means = out_train.mean().item(), out_heldout.mean().item(), out_fake.mean().item()
    spread = max(abs(means[0] - means[2]), 1e-6)
    return {
        "critic_train": means[0],
        "critic_heldout": means[1],
        "critic_fake": means[2],
        "accuracy": (out_heldout[:, None] > out_fake[None, :]).float().mean().item(),
        "gap": min(1.0, max(-1.0, (means[0] - means[1]) / spread)),
        "diversity": mean_distance(fake) / max(mean_distance(heldout), 1e-6),
        "slope": gradient.flatten(1).float().norm(dim=1).mean().item(),
    }


def _outputs(critic: nn.Module, samples: Tensor, labels: Tensor | None) -> Tensor:
    """(B,): the mean over heads where there are several."""
    outputs: Tensor = critic(samples, labels)
    return outputs if outputs.ndim == 1 else outputs.mean(1)


def mean_distance(samples: Tensor) -> float:
    """Mean Euclidean distance between two different samples of a batch, over the root of their size."""
    flat = samples.detach().flatten(1).float()
    if len(flat) < 2:
        return 0.0
    return float(torch.pdist(flat).mean() / flat.shape[1] ** 0.5)


def warn(history: Sequence[Mapping[str, float]], options: Options) -> list[str]:
    """Sentences on what the last diagnostics show, each with a remedy."""
    last = history[-_PATIENCE:]
    if len(last) < _PATIENCE:
        return []
    said = []
    if all(found["accuracy"] >= _SATURATED for found in last):
        said.append(
            f"The critic ranks {last[-1]['accuracy']:.0%} of real-fake pairs rightly: it is saturated and teaches "
            "little. Lower the critic's learning rate, or use `loss: relativistic` with its penalties."
        )
    diversity = [found["diversity"] for found in last]
    best = max(found["diversity"] for found in history)
    if max(diversity) < _LEAST_DIVERSITY or (diversity[-1] < 0.6 * best and diversity[0] > diversity[1] > diversity[2]):
        said.append(
            f"Samples differ from one another {diversity[-1]:.2f} times as much as real ones do, and less than before: "
            "the generator is collapsing. Go back to the best checkpoint with a lower learning rate, or use "
            "`loss: relativistic`, or a penalty `r1`."
        )
    if all(found["gap"] > _LARGE_GAP for found in last):
        remedy = (
            "Adaptive augmentation is at work; more data helps most."
            if options.augment.policy
            else "Set `augment: {policy: [...]}` (it adapts its strength), train for less long, or add data."
        )
        said.append(f"The critic is learning the training samples by heart (gap {last[-1]['gap']:.2f}). {remedy}")
    return said
