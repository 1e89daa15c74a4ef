"""Every measure by name: what it is called, which way is better, what no model can beat, and how to read it.

One table for the report, the command line and the docs, so that a number is explained in the same words everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from motherlode.errors import MeasureError
from motherlode.registry import did_you_mean

Direction = Literal["lower", "higher", "none"]


@dataclass(frozen=True)
class Definition:
    """One measure.

    Args:
        title: for people.
        group: measures of a group are found together; its name asks for all of them.
        direction: which way is better.
        meaning: one sentence that says how to read it.
        target: a value to see the number against, where there is one.
        mark: what scores that.
        short: the name it has with the weights of its paper.
    """

    title: str
    group: str
    direction: Direction
    meaning: str
    target: float | None = None
    mark: str = "a perfect model"
    short: str = ""


CATALOGUE: dict[str, Definition] = {
    "frechet": Definition(
        "Fréchet distance",
        "frechet",
        "lower",
        "How far the samples as a whole lie from real held-out ones, in look and in variety together. It falls with "
        "more samples, so compare it only at equal numbers; the floor beside it is what real training images score.",
        short="FID",
    ),
    "frechet_floor": Definition(
        "Fréchet distance of real images",
        "frechet",
        "none",
        "The same distance with real training images in place of generated ones: as low as a perfect model would get.",
    ),
    "frechet_infinity": Definition(
        "Fréchet distance, endless samples",
        "frechet",
        "lower",
        "The distance with the bias of a finite number of samples taken out; 0 would be a perfect model.",
        target=0.0,
        short="FID∞",
    ),
    "overfitting": Definition(
        "Overfitting gap",
        "frechet",
        "none",
        "Fréchet distance to training images minus that to unseen ones. Well below 0: the model sits closer to what it "
        "was trained on than to new images of the same kind.",
        target=0.0,
    ),
    "kernel": Definition(
        "Kernel distance",
        "kernel",
        "lower",
        "Like the Fréchet distance, without its bias: 0, or a little below, means no difference was found.",
        target=0.0,
        short="KID",
    ),
    "inception_score": Definition(
        "Inception Score",
        "inception_score",
        "higher",
        "How sure a classifier is of each sample, and how many of its classes the samples cover. It never looks at "
        "real data.",
        short="IS",
    ),
    "precision": Definition(
        "Precision",
        "coverage",
        "higher",
        "Share of samples that could pass for real: they fall among the real images.",
        target=1.0,
        mark="at most",
    ),
    "recall": Definition(
        "Recall",
        "coverage",
        "higher",
        "Share of real images that the model could have made: they fall among the samples.",
        target=1.0,
        mark="at most",
    ),
    "density": Definition(
        "Density",
        "coverage",
        "higher",
        "How thickly real images lie around each sample; 1 for real ones, above 1 when samples crowd the "
        "commonest kinds.",
        target=1.0,
        mark="real images, about",
    ),
    "coverage": Definition(
        "Coverage",
        "coverage",
        "higher",
        "Share of real images with a sample close by. Low coverage with high precision means kinds are missing.",
        target=1.0,
        mark="at most",
    ),
    "diversity": Definition(
        "Diversity",
        "diversity",
        "none",
        "How different two samples look on average. Far below the real images' own: the model repeats itself.",
    ),
    "diversity_real": Definition(
        "Diversity of real images",
        "diversity",
        "none",
        "The same for pairs of real held-out images: what the model's diversity should come to.",
    ),
    "closer_to_train": Definition(
        "Nearer to train than to unseen",
        "memorisation",
        "none",
        "Share of samples whose nearest real image is a training one, with as many unseen ones to choose from. One "
        "half is innocent; well above is memorising.",
        target=0.5,
        mark="innocent",
    ),
    "distance_ratio": Definition(
        "Distance to train over unseen",
        "memorisation",
        "none",
        "Median ratio of the distances to the nearest training and the nearest unseen image. 1 is innocent; below is "
        "memorising.",
        target=1.0,
        mark="innocent",
    ),
    "authentic": Definition(
        "Authentic samples",
        "memorisation",
        "higher",
        "Share of samples that are no closer to their nearest training image than that one is to its own neighbour.",
        short="AuthPct",
    ),
    "copies": Definition(
        "Copied samples",
        "memorisation",
        "lower",
        "Share of samples nearer to one training image than 99 % of unseen images are; 1 % is innocent.",
        target=0.01,
        mark="innocent",
    ),
    "planted_found": Definition(
        "Planted copies found",
        "memorisation",
        "none",
        "Of training images moved by a pixel, darkened by 5 % or made a little noisy, the share that the copy rule "
        "caught: how far to trust the line above.",
        target=1.0,
        mark="all",
    ),
}

GROUPS = tuple(dict.fromkeys(definition.group for definition in CATALOGUE.values()))


def expand(names: tuple[str, ...]) -> list[str]:
    """Measures by name from measures and groups, in the catalogue's order; all of them for ().

    Raises:
        MeasureError: no measure or group of that name.
    """
    wanted = set()
    for name in names or GROUPS:
        if name not in CATALOGUE and name not in GROUPS:
            raise MeasureError("there is no measure of this name", name, did_you_mean(name, [*CATALOGUE, *GROUPS]))
        wanted |= {key for key, definition in CATALOGUE.items() if name in (key, definition.group)}
    return [name for name in CATALOGUE if name in wanted]
