import math

import numpy as np
import pytest
import torch
from torchmetrics.image import PeakSignalNoiseRatio

from motherlode.errors import MeasureError
from motherlode.measures.restoration import absolute_errors, code_use, psnr_decibels
from motherlode.randomness import numpy_generator


def pictures(seed: int) -> np.ndarray:
    return numpy_generator(seed, "pictures").integers(0, 256, (6, 1, 8, 8), dtype=np.uint8)


def test_psnr_is_torchmetrics() -> None:
    real, made = pictures(0), pictures(1)
    for row in range(6):
        metric = PeakSignalNoiseRatio(data_range=255.0)
        expected = metric(torch.from_numpy(made[row]).float(), torch.from_numpy(real[row]).float())
        assert psnr_decibels(real[row : row + 1], made[row : row + 1])[0] == pytest.approx(float(expected), rel=1e-5)
    assert psnr_decibels(real, real)[0] == pytest.approx(100)


def test_one_grey_level_is_a_255th_and_sound_has_its_own_range() -> None:
    real = np.full((2, 1, 4, 4), 7, np.uint8)
    assert absolute_errors(real, real + 1).tolist() == pytest.approx([1 / 255] * 2)
    sound = np.zeros((2, 1, 100), np.int16)
    assert absolute_errors(sound, sound + 655).tolist() == pytest.approx([655 / 65535] * 2)
    for wrong in (real[:1], real.astype(np.int16), real / 2):
        with pytest.raises(MeasureError, match="shape and type"):
            absolute_errors(real, wrong)


def test_code_use_counts_codes_and_their_evenness() -> None:
    counts = np.zeros((40, 10), np.int64)
    counts[:, :4] = 3
    found = code_use(counts, 0.9)
    assert float(found["codebook_use"]) == pytest.approx(0.4)
    assert float(found["code_perplexity"]) == pytest.approx(0.4)
    assert found["codebook_use"].low == pytest.approx(0.4)
    counts[:, 0] = 9
    shares = np.array([9, 3, 3, 3]) / 18
    assert float(code_use(counts, 0.9)["code_perplexity"]) == pytest.approx(
        math.exp(-(shares * np.log(shares)).sum()) / 10
    )


def test_the_interval_of_evenness_holds_about_as_often_as_it_says() -> None:
    """Against many more samples of the same source, whose evenness is all but exact."""
    weights = np.arange(1.0, 33.0)
    weights /= weights.sum()
    rng = numpy_generator(0, "codes")
    truth = math.exp(-(weights * np.log(weights)).sum()) / 32
    held = 0
    for _ in range(100):
        found = code_use(rng.multinomial(49, weights, size=400), 0.9)["code_perplexity"]
        held += found.low <= truth + 0.001 and truth - 0.001 <= found.high
    assert held >= 80
