"""Every measure by name: what it is called, which way is better, what no model can beat, and how to read it.

One table for the report, the command line and the docs, so that a number is explained in the same words everywhere.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
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
        mark: what scores that; of a floor, what it was taken of.
        short: the name it has with the weights of its paper.
        floor: the measure to see it beside.
        share: of something, so shown as a percentage.
        across: fields of a `Measure` in which two values may differ and still compare.
        bounds: the measure it bounds from above, with which it compares.
    """

    title: str
    group: str
    direction: Direction
    meaning: str
    target: float | None = None
    mark: str = "a perfect model"
    short: str = ""
    floor: str = ""
    share: bool = False
    across: tuple[str, ...] = ()
    bounds: str = ""


CATALOGUE: dict[str, Definition] = {
    "frechet": Definition(
        "Fréchet distance",
        "frechet",
        "lower",
        "How far the samples as a whole lie from real held-out ones, in look and in variety together. It falls with "
        "more samples, so compare it only at equal numbers; the floor beside it is what real training images score.",
        short="FID",
        floor="frechet_floor",
    ),
    "frechet_floor": Definition(
        "Fréchet distance of real images",
        "frechet",
        "none",
        "The same distance with real training images in place of generated ones: as low as a perfect model would get.",
        mark="real images",
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
    "frechet_motion": Definition(
        "Fréchet distance of motion",
        "motion",
        "lower",
        "How far the samples as a whole lie from real held-out clips in how they move: where blocks of the picture go, "
        "how much changes and how evenly. It falls with more samples, as the other one does.",
        floor="frechet_motion_floor",
    ),
    "frechet_motion_floor": Definition(
        "Fréchet distance of motion of real clips",
        "motion",
        "none",
        "The same distance with real training clips in place of generated ones.",
        mark="real clips",
    ),
    "flicker": Definition(
        "Flicker",
        "flicker",
        "none",
        "How unevenly values change from frame to frame, in grey levels: 0 where nothing moves or all moves steadily. "
        "Far above real clips: the model's frames do not follow from one another.",
        floor="flicker_real",
    ),
    "flicker_real": Definition(
        "Flicker of real clips",
        "flicker",
        "none",
        "The same of real held-out clips: what the model should come to.",
        mark="real clips",
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
        share=True,
    ),
    "recall": Definition(
        "Recall",
        "coverage",
        "higher",
        "Share of real images that the model could have made: they fall among the samples.",
        target=1.0,
        mark="at most",
        share=True,
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
        share=True,
    ),
    "diversity": Definition(
        "Diversity",
        "diversity",
        "none",
        "How different two samples look on average. Far below the real images' own: the model repeats itself.",
        floor="diversity_real",
    ),
    "diversity_real": Definition(
        "Diversity of real images",
        "diversity",
        "none",
        "The same for pairs of real held-out images: what the model's diversity should come to.",
        mark="real images",
    ),
    "closer_to_train": Definition(
        "Nearer to train than to unseen",
        "memorisation",
        "none",
        "Share of samples whose nearest real image is a training one, with as many unseen ones to choose from. One "
        "half is innocent; well above is memorising.",
        target=0.5,
        mark="innocent",
        share=True,
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
        share=True,
    ),
    "copies": Definition(
        "Copied samples",
        "memorisation",
        "lower",
        "Share of samples nearer to one training image than 99 % of unseen images are; 1 % is innocent.",
        target=0.01,
        mark="innocent",
        share=True,
    ),
    "planted_found": Definition(
        "Planted copies found",
        "memorisation",
        "none",
        "Of training images moved by a pixel, darkened by 5 % or made a little noisy, the share that the copy rule "
        "caught: how far to trust the line above.",
        target=1.0,
        mark="all",
        share=True,
    ),
    "reconstruction_error": Definition(
        "Reconstruction error",
        "reconstruction",
        "lower",
        "How far the values of unseen samples come back from where they were, as a share of their range: 0.4 % is one "
        "grey level of 255.",
        share=True,
        across=("extractor", "weights", "resize"),
    ),
    "psnr": Definition(
        "Peak signal-to-noise ratio",
        "reconstruction",
        "higher",
        "The same as decibels of the squared error: 20 is a blurred picture, 30 a good one, 40 hard to tell apart.",
        across=("extractor", "weights", "resize"),
    ),
    "mel_distance": Definition(
        "Mel distance of reconstructions",
        "reconstruction",
        "lower",
        "How many decibels the mel spectrum of an unseen sound lies from that of its reconstruction, on average. 0: "
        "alike; what a listener hears, without the phase.",
        target=0.0,
        mark="alike",
        across=("extractor", "weights", "resize"),
    ),
    "spectral_distance": Definition(
        "Spectral distance of reconstructions",
        "reconstruction",
        "lower",
        "How far the spectra of an unseen sound and its reconstruction lie apart, over windows from 64 to 2048 values.",
        target=0.0,
        mark="alike",
        across=("extractor", "weights", "resize"),
    ),
    "si_sdr": Definition(
        "Signal-to-distortion ratio",
        "reconstruction",
        "higher",
        "Decibels of a sound over what its reconstruction gets wrong, loudness aside. Codecs of few bits remake the "
        "sound and not its phase: they score below 0 and may sound well.",
        across=("extractor", "weights", "resize"),
    ),
    "listeners_speech": Definition(
        "Listeners: speech",
        "listeners",
        "higher",
        "What listeners would say of how clear the speech is, from 1 to 5, as the network DNSMOS "
        "P.835 guesses. See it beside real clips.",
        floor="listeners_speech_real",
    ),
    "listeners_speech_real": Definition(
        "Listeners: speech, real clips",
        "listeners",
        "none",
        "The same of real held-out clips, which are as short: what a perfect model would score.",
        mark="real clips",
    ),
    "listeners_background": Definition(
        "Listeners: background",
        "listeners",
        "higher",
        "What listeners would say of how little the background disturbs, from 1 to 5, as the network DNSMOS "
        "P.835 guesses. See it beside real clips.",
        floor="listeners_background_real",
    ),
    "listeners_background_real": Definition(
        "Listeners: background, real clips",
        "listeners",
        "none",
        "The same of real held-out clips, which are as short: what a perfect model would score.",
        mark="real clips",
    ),
    "listeners_whole": Definition(
        "Listeners: as a whole",
        "listeners",
        "higher",
        "What listeners would say of how good it sounds as a whole, from 1 to 5, as the network DNSMOS "
        "P.835 guesses. See it beside real clips.",
        floor="listeners_whole_real",
    ),
    "listeners_whole_real": Definition(
        "Listeners: as a whole, real clips",
        "listeners",
        "none",
        "The same of real held-out clips, which are as short: what a perfect model would score.",
        mark="real clips",
    ),
    "reconstruction_perceptual": Definition(
        "Perceptual distance of reconstructions",
        "reconstruction",
        "lower",
        "How different an unseen picture and its reconstruction look to a network that knows pictures. 0: alike.",
        short="LPIPS",
    ),
    "reconstruction_frechet": Definition(
        "Fréchet distance of reconstructions",
        "reconstruction",
        "lower",
        "How far reconstructions as a whole lie from the unseen samples they were made from. No model over its codes "
        "or latents can be expected to sample better than this.",
        short="rFID",
    ),
    "codebook_use": Definition(
        "Codes in use",
        "codes",
        "higher",
        "Share of the codebook that unseen samples use at all; codes that are never used cost memory and say nothing.",
        target=1.0,
        mark="at most",
        share=True,
        across=("extractor", "weights", "resize"),
    ),
    "code_perplexity": Definition(
        "Evenness of codes",
        "codes",
        "none",
        "Over how many equally frequent codes the codes of unseen samples are spread, as a share of the codebook.",
        target=1.0,
        mark="all alike",
        share=True,
        across=("extractor", "weights", "resize"),
    ),
    "bits_per_byte": Definition(
        "Bits per byte",
        "likelihood",
        "lower",
        "How many bits the model needs for a byte of text it has not seen: the text's length once the model compressed "
        "it. It compares models of different tokenizers. The line beside it is the compressor xz on the same text.",
        floor="bits_per_byte_xz",
        across=("extractor", "weights"),
    ),
    "bits_per_byte_xz": Definition(
        "Bits per byte of xz",
        "likelihood",
        "none",
        "What the compressor xz needs for the same documents in one file: a model that knows the language lies below.",
        mark="xz",
        across=("extractor", "weights", "dtype", "resize"),
    ),
    "perplexity": Definition(
        "Perplexity",
        "likelihood",
        "lower",
        "Over how many equally likely tokens the model hesitates, on average. It compares only at one tokenizer: "
        "longer tokens are fewer and harder.",
    ),
    "bits_per_byte_gap": Definition(
        "Overfitting gap in bits per byte",
        "overfitting_bits",
        "none",
        "Bits per byte of unseen documents minus that of training ones. Well above 0: the model knows what it was "
        "trained on better than the language.",
        target=0.0,
        mark="no overfitting",
        across=("extractor", "weights"),
    ),
    "bits_per_byte_bound": Definition(
        "Bits per byte, bound",
        "bound",
        "lower",
        "At most so many bits the masked-diffusion model needs for a byte of unseen text. Below another model's bits "
        "per byte it is better for certain; above, it may be the bound that is loose.",
        floor="bits_per_byte_xz",
        across=("extractor", "weights"),
        bounds="bits_per_byte",
    ),
    "masked_accuracy": Definition(
        "Masked accuracy",
        "masked",
        "higher",
        "Share of masked tokens of unseen text that the model's first guess restores. Compares at one tokenizer only.",
        share=True,
    ),
    "mauve": Definition(
        "MAUVE",
        "mauve",
        "higher",
        "How far generated and unseen texts agree as distributions, in quality and variety together: 1 where no "
        "difference was found. It falls with fewer texts, so read it beside what real training texts score.",
        target=1.0,
        mark="at most",
        floor="mauve_floor",
    ),
    "mauve_floor": Definition(
        "MAUVE of real text",
        "mauve",
        "none",
        "The same with real training texts in place of generated ones: as high as a perfect model would get.",
        mark="real text",
    ),
    "distinct_1": Definition(
        "Distinct-1",
        "variety",
        "none",
        "Unlike words (characters in Chinese) over all words of all samples. Far below real text: a poor vocabulary.",
        floor="distinct_1_real",
        share=True,
    ),
    "distinct_1_real": Definition(
        "Distinct-1 of real text",
        "variety",
        "none",
        "The same of as much real held-out text: what the model should come to.",
        mark="real text",
        share=True,
    ),
    "distinct_2": Definition(
        "Distinct-2",
        "variety",
        "none",
        "Unlike pairs of words over all pairs. Far below real text: the same phrases again and again; far above: word "
        "salad.",
        floor="distinct_2_real",
        share=True,
    ),
    "distinct_2_real": Definition(
        "Distinct-2 of real text",
        "variety",
        "none",
        "The same of as much real held-out text: what the model should come to.",
        mark="real text",
        share=True,
    ),
    "self_bleu": Definition(
        "Self-BLEU",
        "variety",
        "none",
        "How much each sample is made of phrases of the others (BLEU-4). Far above real text: samples resemble each "
        "other.",
        floor="self_bleu_real",
    ),
    "self_bleu_real": Definition(
        "Self-BLEU of real text",
        "variety",
        "none",
        "The same of as many real held-out texts: what the model should come to.",
        mark="real text",
    ),
    "repetition": Definition(
        "Repetition",
        "variety",
        "none",
        "Share of four-word sequences that stood before in the same sample. Far above real text: the model loops.",
        floor="repetition_real",
        share=True,
    ),
    "repetition_real": Definition(
        "Repetition of real text",
        "variety",
        "none",
        "The same of real held-out texts of equal length.",
        mark="real text",
        share=True,
    ),
    "verbatim": Definition(
        "Verbatim from training text",
        "verbatim",
        "lower",
        "Share of the samples' text that stands word for word in the training text, in stretches of 32 tokens or more.",
        floor="verbatim_real",
        share=True,
    ),
    "verbatim_real": Definition(
        "Verbatim in real text",
        "verbatim",
        "none",
        "The same of real held-out text: what people repeat anyway, and an innocent model would.",
        mark="real text",
        share=True,
    ),
    "longest_match": Definition(
        "Longest match with training text",
        "verbatim",
        "none",
        "Tokens of the longest stretch of a sample that stands word for word in the training text, on average. Far "
        "above real text: the model recites.",
        floor="longest_match_real",
    ),
    "longest_match_real": Definition(
        "Longest match of real text",
        "verbatim",
        "none",
        "The same of real held-out texts of equal length.",
        mark="real text",
    ),
}

GROUPS = tuple(dict.fromkeys(definition.group for definition in CATALOGUE.values()))
HARNESS = "harness"
FIELD = "task"
FIELD_METRICS = {
    "nats_per_token": Definition(
        "nats a token",
        FIELD,
        "lower",
        "How surprised the model is by each token of what it should make, among those that may come there; the log of "
        "their number where it knows nothing.",
    ),
    "bits_per_sample": Definition(
        "bits a sample",
        FIELD,
        "lower",
        "How surprised the model is by the whole of what it should make, given what is given.",
    ),
    "accuracy": Definition(
        "right labels", FIELD, "higher", "How often the likeliest label is the right one.", target=1.0, share=True
    ),
}
"""Of a field that a task makes."""
BOUND, BOUND_AT_LENGTH = "_bound", "_bound_at_length"
for _name in ("nats_per_token", "bits_per_sample"):
    _exact = FIELD_METRICS[_name]
    _most = "At most so much, of a model that fills in masks: a lower bound is better for certain, a higher one not."
    FIELD_METRICS[_name + BOUND] = replace(
        _exact, title=f"{_exact.title}, bound", meaning=f"{_exact.meaning} {_most}", bounds=_name
    )
    FIELD_METRICS[_name + BOUND_AT_LENGTH] = replace(
        _exact,
        title=f"{_exact.title}, bound at a known length",
        meaning=f"{_exact.meaning} {_most} It is told how long the field is, so the number compares with its like.",
    )
_PLACE = ":"


def harness_name(task: str, metric: str) -> str:
    """The name of a metric of an outside harness."""
    return _PLACE.join((HARNESS, task.replace(_PLACE, "_"), metric.replace(_PLACE, "_")))


def field_name(task: str, field: str, metric: str) -> str:
    """The name of a metric of a field that a task makes."""
    return _PLACE.join((FIELD, task.replace(_PLACE, "_"), field, metric))


def definition(name: str) -> Definition:
    """The measure of a name.

    Names of an outside harness ("harness:arc_easy:acc") and of fields ("task:draw:image:nats_per_token") define
    themselves.
    """
    if name.startswith(FIELD + _PLACE):
        task, field, metric = name.split(_PLACE)[1:]
        general = FIELD_METRICS[metric]
        bounds = field_name(task, field, general.bounds) if general.bounds else ""
        return replace(general, title=f"{task} → {field}: {general.title}", bounds=bounds)
    if not name.startswith(HARNESS + _PLACE):
        return CATALOGUE[name]
    task, metric = name.split(_PLACE)[1:]
    return Definition(f"{task}: {metric}", HARNESS, "none", "As EleutherAI's harness computes it.")


def expand(names: tuple[str, ...], groups: Collection[str] = GROUPS) -> list[str]:
    """Measures by name from measures and groups, in the catalogue's order; all of them for ().

    Args:
        names: of measures and groups.
        groups: those that can be taken here.

    Raises:
        MeasureError: no measure or group of that name, or none that can be taken here.
    """
    here = {key: definition for key, definition in CATALOGUE.items() if definition.group in groups}
    wanted = set()
    for name in names or groups:
        if name not in here and name not in groups:
            known = name in CATALOGUE or name in GROUPS
            told = "this measure is not one of such data" if known else "there is no measure of this name"
            raise MeasureError(told, name, did_you_mean(name, [*here, *groups]))
        wanted |= {key for key, definition in here.items() if name in (key, definition.group)}
    return [name for name in CATALOGUE if name in wanted]
