import pytest
import scipy.signal
import torch

from motherlode.networks.spectra import magnitudes, spectra, spectral_distance
from motherlode.randomness import torch_generator


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch_generator(seed, "noise"))


def test_in_one_dimension_it_is_the_short_time_fourier_transform() -> None:
    sound = noise(2, 1, 256)
    ours = spectra(sound, 32)
    taper = scipy.signal.get_window(("general_hamming", 0.5), 34, fftbins=False)[1:-1]
    transform = scipy.signal.ShortTimeFFT(taper, hop=8, fs=1.0, fft_mode="onesided", phase_shift=None)
    theirs = transform.stft_detrend(sound.numpy(), None, p0=2, p1=2 + ours.shape[2])
    expected = torch.from_numpy(theirs).transpose(-1, -2) / float((taper**2).sum() ** 0.5)
    assert torch.allclose(magnitudes(ours).double(), expected.abs(), atol=1e-4)


@pytest.mark.parametrize("shape", [(4, 1, 4000), (4, 3, 64, 64), (2, 1, 16, 32, 32)])
def test_white_noise_has_a_mean_squared_magnitude_of_one(shape: tuple[int, ...]) -> None:
    found = spectra(noise(*shape), 8)
    assert found.ndim == 2 * len(shape) - 2
    assert float(magnitudes(found).square().mean()) == pytest.approx(1, rel=0.1)


def test_the_distance_is_nought_of_equals_and_feels_a_wrong_tone_more_than_a_shift() -> None:
    time = torch.arange(4000.0) / 8000
    tone, shifted, other = (torch.sin(6.283185 * f * time + p)[None, None] for f, p in ((440, 0), (440, 1), (700, 0)))
    assert float(spectral_distance(tone, tone, (64, 256))) == pytest.approx(0, abs=1e-6)
    shift, wrong = (float(spectral_distance(one, tone, (64, 256))) for one in (shifted, other))
    assert wrong > 3 * shift


def test_silence_has_a_gradient() -> None:
    silent = torch.zeros(1, 1, 256, requires_grad=True)
    (gradient,) = torch.autograd.grad(spectral_distance(silent, noise(1, 1, 256), (64,)), silent)
    assert bool(torch.isfinite(gradient).all())
