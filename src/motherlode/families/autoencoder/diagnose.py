"""What looks at an autoencoder say, and the remedies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from motherlode.families.autoencoder.options import Options

_PATIENCE = 3
_LEAST_ALIVE = 0.5
_LEAST_ACTIVE = 0.1
_LARGE_GAP = 0.2
_RISE = 1.02


def warn(history: Sequence[Mapping[str, float]], options: Options) -> list[str]:
    """Sentences on the last looks, each with a remedy.

    Args:
        history: what `inspect` found, oldest first.
        options: of the model.
    """
    last = history[-_PATIENCE:]
    if len(last) < _PATIENCE:
        return []
    found = last[-1]
    said = []
    if all(look.get("codes_alive", 1.0) < _LEAST_ALIVE for look in last):
        said.append(
            f"Of the codes only {found['codes_alive']:.0%} are in use: the rest says nothing. Set fewer "
            "`codebook.codes`, a larger `codebook.revive`, `codebook.estimator: rotation`, or "
            "`kind: fsq`, which cannot collapse."
        )
    if all(look.get("active", 1.0) < _LEAST_ACTIVE for look in last):
        said.append(
            f"Only {found['active']:.0%} of the latent numbers say anything about a sample: the posterior has "
            "collapsed onto the prior. Lower `beta`, set `free_nats: 0.1`, or make the decoder weaker "
            "(`width`, `blocks`)."
        )
    lowest = min(look["loss_unseen"] for look in history)
    gap = found["loss_unseen"] - found["loss_train"]
    scale = max(abs(found["loss_unseen"]), 1e-9)
    if gap > _LARGE_GAP * scale and found["loss_unseen"] > lowest + (_RISE - 1) * abs(lowest):
        remedy = "raise `beta`, " if options.kind == "vae" else ""
        said.append(
            f"Unseen samples cost {found['loss_unseen']:.4g} where training ones cost {found['loss_train']:.4g}, "
            f"and cost less before: it is learning its samples by heart. The best checkpoint is kept; "
            f"{remedy}train for less long, add data, or `data.augment`."
        )
    return said
