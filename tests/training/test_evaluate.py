"""`evaluate` on a real, tiny run, and on folders whose answer is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import motherlode as ml
from motherlode.data.dataset import Dataset
from motherlode.data.loader import Loader
from motherlode.data.prepare import prepare
from motherlode.errors import MeasureError, SourceError
from motherlode.measures.report import Report
from motherlode.modality.image import MODALITY
from motherlode.recipe import Recipe
from motherlode.training.evaluate import evaluate
from motherlode.training.pools import Files
from motherlode.training.run import Run, train

SAMPLE = Path(__file__).parents[1] / "fixtures" / "fashion-500.parquet"
EXTRACTOR = "raw-pixels?resize=6"


pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return prepare(SAMPLE, modality="image", out=tmp_path_factory.mktemp("data") / "fashion", heldout=0.3)


@pytest.fixture(scope="module")
def run(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Run:
    recipe = Recipe(
        name="tiny",
        out=str(tmp_path_factory.mktemp("runs")),
        data={"path": str(dataset.path)},
        model={"family": "gan", "network": "mlp"},
        train={"batch": 16, "budget": {"steps": 4}, "precision": "fp32", "compile": "off", "device": "cpu"},
        evaluate={"extractor": EXTRACTOR, "num_samples": 200},
    )
    return train(recipe)


def write(samples: np.ndarray, folder: Path) -> Path:
    folder.mkdir()
    for number, sample in enumerate(samples):
        (folder / f"{number}.png").write_bytes(MODALITY.encode(sample))
    return folder


def split(dataset: Dataset, name: str) -> np.ndarray:
    loader = Loader(dataset, name, dataset.spec(), seed=0, batch=1)
    return np.array(loader.take(loader.rows)[0])


def test_a_run_is_measured(run: Run, dataset: Dataset) -> None:
    told: list[tuple[str, float]] = []
    report = evaluate(run, progress=lambda what, share: told.append((what, share)))
    num_heldout = len(dataset.split("heldout"))
    frechet = report["frechet"]
    assert frechet.label == "frechet[raw-pixels]"
    assert (frechet.num_samples, frechet.num_reference) == (200, min(200, num_heldout))
    assert dataset.id[:12] in frechet.reference
    assert frechet.low < frechet.value < frechet.high
    assert frechet.level == run.recipe.evaluate.level
    # Four steps make noise: far above what real images score, and no copies.
    assert frechet.low > report["frechet_floor"].high
    assert report["kernel"].low > 0
    assert report["copies"] is not None
    assert report["copies"].value <= 0.1
    assert report["planted_found"].num_samples == min(128, len(dataset.split("train")))
    assert {"precision", "recall", "density", "coverage", "overfitting", "authentic"} <= set(report)
    assert "inception_score" not in report
    assert any("no classifier" in note for note in report.facts["notes"])
    assert any("raw pixels" in note for note in report.facts["notes"])
    assert report.facts["variant"] in run.load().variants
    assert set(report.facts["variant_scores"]) == set(run.load().variants)
    assert min(report.facts["variant_scores"], key=report.facts["variant_scores"].get) == report.facts["variant"]
    shares = [share for _, share in told]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_the_report_is_in_the_run(run: Run) -> None:
    report = evaluate(run.path, measures=("frechet", "memorisation"))
    page = (run.path / "report.html").read_text(encoding="utf-8")
    assert "tiny" in page
    assert page.count("data:image/png;base64,") == 3
    assert 'class="curves"' in page
    opened = Report.open(run.path)
    assert dict(opened) == dict(report)
    assert opened.compare(report)[0].verdict == "no clear change"


def test_the_seed_decides(run: Run) -> None:
    first, again, other = (evaluate(run, measures=("kernel",), num_samples=60, seed=seed) for seed in (1, 1, 2))
    assert first["kernel"] == again["kernel"]
    assert first["kernel"].value != other["kernel"].value
    assert set(first) == {"kernel"}


def test_training_is_left_as_it_was(run: Run) -> None:
    before = {key: value.clone() for key, value in run.load().state_dict().items()}
    evaluate(run, measures=("kernel",), num_samples=50)
    after = run.load().state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_a_folder_of_copies_is_found_out(dataset: Dataset, tmp_path: Path) -> None:
    copies = write(split(dataset, "train")[:120], tmp_path / "copies")
    report = evaluate(samples=copies, reference=dataset.path, train=dataset.path, extractor=EXTRACTOR, out=tmp_path)
    assert report["copies"].value == 1
    assert report["authentic"].value == 0
    assert report["closer_to_train"].low > 0.5
    assert report["overfitting"].value < 0
    assert (tmp_path / "report.html").is_file()


def test_real_images_score_as_real(dataset: Dataset, tmp_path: Path) -> None:
    real = split(dataset, "heldout")
    half = write(real[::2], tmp_path / "half")
    other = write(real[1::2], tmp_path / "other")
    report = evaluate(samples=half, reference=other, train=dataset.path, extractor=EXTRACTOR)
    assert report["kernel"].low < 0 < report["kernel"].high
    assert report["copies"].value < 0.1
    assert report["precision"].value > 0.6
    floor, frechet = report["frechet_floor"], report["frechet"]
    assert frechet.low < floor.high * 1.5


def test_features_of_real_data_are_cached(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluate(run, measures=("frechet_floor",), num_samples=50)
    from motherlode.measures import cache

    asked: list[int] = []
    extract = cache.extract

    def counting(*arguments: object) -> object:
        asked.append(1)
        return extract(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(cache, "extract", counting)
    evaluate(run, measures=("frechet_floor",), num_samples=50)
    assert asked == []
    evaluate(run, measures=("frechet_floor",), num_samples=50, extractor="raw-pixels?resize=5")
    assert len(asked) == 2


def test_files_find_their_shape(tmp_path: Path) -> None:
    images = np.zeros((3, 1, 20, 20), np.uint8)
    images[:, :, ::2] = np.array([60, 120, 240], np.uint8)[:, None, None, None]
    pool = Files(write(images, tmp_path / "images"), MODALITY)
    assert pool.take(np.arange(3)).shape[1:] == pool.spec.shape
    assert sorted(pool.take(np.arange(3)).max((1, 2, 3)).tolist()) == [60, 120, 240]


def test_the_overview_of_generated_samples_is_not_measured(run: Run, tmp_path: Path) -> None:
    ml.generate(run, num=5, out=tmp_path / "made")
    assert (tmp_path / "made" / "grid.png").is_file()
    assert len(Files(tmp_path / "made", MODALITY)) == 5


def test_what_cannot_be_measured_is_refused(run: Run, dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(MeasureError, match="a run or a folder"):
        evaluate()
    with pytest.raises(MeasureError, match="a run or a folder"):
        evaluate(run, samples=tmp_path)
    with pytest.raises(MeasureError, match="compared with"):
        evaluate(samples=tmp_path)
    with pytest.raises(SourceError, match="must be image files"):
        evaluate(samples=tmp_path, reference=dataset.path)
    with pytest.raises(SourceError, match="in a folder"):
        evaluate(samples=tmp_path / "absent", reference=dataset.path)
    with pytest.raises(MeasureError, match="did you mean 'frechet'"):
        evaluate(run, measures=("frechet_",))
    with pytest.raises(MeasureError, match="no extractor"):
        evaluate(run, extractor="clip")
