"""How good generated samples are: distances to real data, fidelity and variety, memorisation; each with an interval.

The functions here take feature matrices (NumPy or torch, one row a sample), tokenised documents or numbered texts, and
know nothing of files. The extractors that make features are in `features` (of images) and `language_features` (of
texts); a whole report of a run is made by `motherlode.evaluate`.
Importing this package imports neither torch nor scipy; each name brings what it needs when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from motherlode.measures.coverage import Coverage as Coverage
    from motherlode.measures.coverage import precision_recall_density_coverage as precision_recall_density_coverage
    from motherlode.measures.features import Features as Features
    from motherlode.measures.features import find_extractor as find_extractor
    from motherlode.measures.fid_inception import FidInception as FidInception
    from motherlode.measures.frechet import Moments as Moments
    from motherlode.measures.frechet import frechet_distance as frechet_distance
    from motherlode.measures.frechet import frechet_infinity as frechet_infinity
    from motherlode.measures.frechet import frechet_interval as frechet_interval
    from motherlode.measures.inception import inception_score as inception_score
    from motherlode.measures.interval import Interval as Interval
    from motherlode.measures.kernel import kernel_distance as kernel_distance
    from motherlode.measures.language_features import find_text_extractor as find_text_extractor
    from motherlode.measures.language_likelihood import bits_per_byte as bits_per_byte
    from motherlode.measures.language_likelihood import document_nats as document_nats
    from motherlode.measures.language_likelihood import perplexity as perplexity
    from motherlode.measures.language_masked import bound_nats as bound_nats
    from motherlode.measures.language_masked import masked_hits as masked_hits
    from motherlode.measures.language_mauve import mauve as mauve
    from motherlode.measures.language_variety import distinct as distinct
    from motherlode.measures.language_variety import repetition as repetition
    from motherlode.measures.language_variety import self_bleu as self_bleu
    from motherlode.measures.language_verbatim import longest_matches as longest_matches
    from motherlode.measures.memorisation import Memorisation as Memorisation
    from motherlode.measures.memorisation import memorised as memorised
    from motherlode.measures.perceptual import Lpips as Lpips
    from motherlode.measures.perceptual import diversity as diversity
    from motherlode.measures.perceptual import perceptual_distance as perceptual_distance
    from motherlode.measures.quick import quick_frechet as quick_frechet
    from motherlode.measures.report import Measure as Measure
    from motherlode.measures.report import Report as Report

_HOMES = {
    "Coverage": "coverage",
    "Features": "features",
    "FidInception": "fid_inception",
    "Interval": "interval",
    "Lpips": "perceptual",
    "Measure": "report",
    "Memorisation": "memorisation",
    "Moments": "frechet",
    "Report": "report",
    "bits_per_byte": "language_likelihood",
    "bound_nats": "language_masked",
    "distinct": "language_variety",
    "diversity": "perceptual",
    "document_nats": "language_likelihood",
    "find_extractor": "features",
    "find_text_extractor": "language_features",
    "frechet_distance": "frechet",
    "frechet_infinity": "frechet",
    "frechet_interval": "frechet",
    "inception_score": "inception",
    "kernel_distance": "kernel",
    "longest_matches": "language_verbatim",
    "masked_hits": "language_masked",
    "mauve": "language_mauve",
    "memorised": "memorisation",
    "perceptual_distance": "perceptual",
    "perplexity": "language_likelihood",
    "precision_recall_density_coverage": "coverage",
    "quick_frechet": "quick",
    "repetition": "language_variety",
    "self_bleu": "language_variety",
}

__all__ = [
    "Coverage",
    "Features",
    "FidInception",
    "Interval",
    "Lpips",
    "Measure",
    "Memorisation",
    "Moments",
    "Report",
    "bits_per_byte",
    "bound_nats",
    "distinct",
    "diversity",
    "document_nats",
    "find_extractor",
    "find_text_extractor",
    "frechet_distance",
    "frechet_infinity",
    "frechet_interval",
    "inception_score",
    "kernel_distance",
    "longest_matches",
    "masked_hits",
    "mauve",
    "memorised",
    "perceptual_distance",
    "perplexity",
    "precision_recall_density_coverage",
    "quick_frechet",
    "repetition",
    "self_bleu",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'motherlode.measures' has no attribute {name!r}")
    return getattr(import_module(f"motherlode.measures.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
