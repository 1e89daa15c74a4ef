"""Makes a study's `report.html`: what was measured, the law through it, what it foretold, every cell, what is amiss.

One file without script or network, like a plan's. It stands without a law as well: then it says what the cells lack.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from motherlode.studies import pictures
from motherlode.studies.backtest import holdout
from motherlode.studies.report import behind, template
from motherlode.studies.runner import FINISHED, Record
from motherlode.studies.words import amount

if TYPE_CHECKING:
    from motherlode.studies.backtest import Score
    from motherlode.studies.study import Study

_CUTS = (0.1, 0.25, 0.5)
"""Shares of the top compute; the first with enough cells below it says how well small cells foretell large ones."""


def render(study: Study) -> str:
    """The page as text."""
    law = study.law
    seen = law is not None and law.sees_unique and law.runs.has_unique
    scores = (holdout(law.runs, cut) for cut in _CUTS) if law is not None else ()
    score = next((found for found in scores if found is not None), None)
    page: str = template("study.html.j2").render(
        title=study.options.name,
        lead=_lead(study),
        tiles=_tiles(study, score),
        why_no_law=study.why_no_law,
        facets=pictures.pilots_and_curves(law) if law is not None else [],
        map=pictures.law_map(law) if law is not None and seen else "",
        held_back=pictures.foretold(score) if score is not None else None,
        treatments=_treatments(study),
        cells=[_row(record, study.unit) for record in study.records],
        amiss=[_amiss(record) for record in study.records if record["status"] != FINISHED],
        warnings=[*study.facts.get("warnings", []), *(law.warnings if law is not None else [])],
        method=behind(law, "cells") if law is not None else [],
    )
    return page


def _lead(study: Study) -> str:
    counts = study.counts()
    whole = len(study.facts["cells"])
    text = f"{counts[FINISHED]} of {whole} cells finished"
    bad = len(study.records) - counts[FINISHED]
    text += f", {bad} failed" if bad else ""
    text += "" if study.complete else "; the study was stopped and goes on where it stands"
    law = study.law
    if law is None:
        return f"{text}. There is no law yet."
    finished = [record for record in study.records if record["status"] == FINISHED]
    best = min(finished, key=lambda record: float(record["loss"]))
    return (
        f"{text}. The best reached {best['loss']:.4g} with {amount(best['N'])} parameters, {amount(best['U'])} unique "
        f"{study.unit} and {best['D'] / best['U']:.3g} passes."
    )


def _tiles(study: Study, score: Score | None) -> list[dict[str, str]]:
    paid = sum(record.get("paid_seconds", 0.0) for record in study.records)
    naive = study.facts["naive_flops"]
    tiles = [
        {"title": "measured by", "value": study.measure, "detail": "at the end of each run, on held-out data"},
        {"title": "time spent", "value": f"{paid / 60:.1f} min", "detail": "of training, trunks included, one thread"},
        {
            "title": "operations",
            "value": f"{study.facts['flops'] / naive:.0%} of naive",
            "detail": f"{naive:.3g} FLOP would train each cell from scratch",
        },
    ]
    law = study.law
    if law is not None:
        epochs = law.runs.epochs
        tiles.append(
            {"title": "passes", "value": f"{epochs.min():.3g} to {epochs.max():.3g}", "detail": "over the unique data"}
        )
    if score is not None:
        tiles.append(
            {
                "title": "foretold the largest",
                "value": f"{score.error:.1%} median error",
                "detail": f"{score.coverage:.0%} of {score.num_held} cells inside the 90 % interval of a law "
                f"fitted to the {score.num_pilots} at most {score.share:g} of the top compute",
            }
        )
    return tiles


def _treatments(study: Study) -> list[dict[str, str]]:
    law = study.law
    if law is None:
        return []
    ranges = law.treatment_ranges()
    return [
        {
            "name": name,
            "data": f"{data:.3g}x",
            "level": f"{level - 1:+.1%}",
            "range": "{:.3g} to {:.3g}".format(*ranges[name]) if name in ranges else "",
        }
        for name, (data, level) in law.treatment_effects().items()
    ]


def _row(record: Record, unit: str) -> dict[str, str]:
    loss = record["loss"]
    return {
        "treatment": record["treatment"],
        "size": f"{record['size']} ({amount(record['N'])})",
        "unique": f"{amount(record['U'])} {unit}",
        "passes": f"{record['D'] / record['U']:.3g}",
        "seed": str(record["seed"]),
        "compute": f"{record['compute']:.3g}",
        "loss": record["status"] if loss is None else f"{loss:.5g}",
    }


def _amiss(record: Record) -> str:
    return (
        f"{record['treatment']}, {record['size']}, {record['unique']} rows, {record['steps']} steps, seed "
        f"{record['seed']}: {record['status']}: {record.get('error', '')}"
    )
