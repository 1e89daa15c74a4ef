"""Bad sounds are dropped for the right reason, odd ones read, and the normal form is one."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
import soundfile
from audio_samples import RATE, broken, file, readable, voice

from motherlode.modality import SampleSpec
from motherlode.modality.audio import MODALITY
from motherlode.modality.audio.options import REASONS, Clean

BROKEN, READABLE = broken(), readable()


@pytest.mark.parametrize("name", BROKEN)
def test_a_bad_file_is_dropped_for_its_reason_and_kept_as_it_came(name: str) -> None:
    media, reason = BROKEN[name]
    found = MODALITY.examine([media, file(voice())], Clean())
    assert found.reasons == [reason, None]
    assert reason in REASONS
    assert found.media[0] is media


@pytest.mark.parametrize("name", READABLE)
def test_an_odd_file_is_read_and_sounds_like_the_plain_one(name: str) -> None:
    found = MODALITY.examine([READABLE[name], READABLE["16 bits"]], Clean())
    assert found.reasons == [None, None]
    assert MODALITY.similarity(found.thumbs_NT[:1], found.thumbs_NT[1:])[0] > 0.98
    assert found.columns["loudness_lufs"][0] == pytest.approx(-23.0, abs=0.3)
    with soundfile.SoundFile(BytesIO(found.media[0])) as opened:
        assert (opened.format, opened.subtype, opened.channels) == ("FLAC", "PCM_16", 1)
        assert opened.frames == found.columns["num_values"][0]
        assert opened.samplerate == found.columns["rate"][0]


def test_containers_that_libsndfile_does_not_know_are_read_with_av() -> None:
    av = pytest.importorskip("av")
    buffer = BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=RATE)
        frame = av.AudioFrame.from_ndarray(voice().astype(np.float32)[None], format="fltp", layout="mono")
        frame.rate = RATE
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)
    found = MODALITY.examine([buffer.getvalue(), file(voice())], Clean())
    assert found.reasons == [None, None]
    assert MODALITY.similarity(found.thumbs_NT[:1], found.thumbs_NT[1:])[0] > 0.97


@pytest.mark.parametrize("options", [Clean(), Clean(rate=8000), Clean(rate=22_050, channels=2), Clean(loudness=None)])
def test_the_normal_form_is_its_own_normal_form_byte_for_byte(options: Clean) -> None:
    once = MODALITY.examine([READABLE["silence around it"], READABLE["mp3"]], options)
    again = MODALITY.examine(once.media, options)
    assert again.reasons == [None, None]
    assert [after is before for after, before in zip(again.media, once.media)] == [True, True]


def test_silence_goes_and_speech_stays() -> None:
    found = MODALITY.examine([READABLE["silence around it"]], Clean())
    assert found.columns["duration_sec"][0] == pytest.approx(1.06, abs=0.05)
    assert found.columns["original_duration_sec"][0] == pytest.approx(2.0)
    kept = MODALITY.examine([READABLE["silence around it"]], Clean(trim="off"))
    assert kept.columns["duration_sec"][0] == pytest.approx(2.0)


def test_limits_are_those_of_the_options() -> None:
    media = [file(voice(2.0))]
    assert MODALITY.examine(media, Clean(max_sec=1.5)).reasons == ["too_long"]
    assert MODALITY.examine(media, Clean(min_sec=2.5)).reasons == ["too_short"]
    narrow = [file(voice(2.0, 8000), 8000)]
    assert MODALITY.examine(narrow, Clean(rate=16_000, min_bandwidth=6000)).reasons == ["narrow_band"]
    pauses = np.concatenate([voice(0.1), np.zeros(5 * RATE), voice(0.1)])
    assert MODALITY.examine([file(pauses)], Clean()).reasons == ["mostly_silent"]


def test_a_window_is_the_beginning_or_padded_and_a_whole_sound_is_whole() -> None:
    media = MODALITY.examine([file(voice())], Clean()).media[0]
    whole = MODALITY.decode(media, SampleSpec("audio", (1, 0), rate=RATE))
    assert whole.dtype == np.int16
    assert whole.shape[0] == 1
    short = MODALITY.decode(media, SampleSpec("audio", (1, 500), rate=RATE))
    long = MODALITY.decode(media, SampleSpec("audio", (1, 40_000), rate=RATE))
    assert np.array_equal(short, whole[:, :500])
    assert np.array_equal(long[:, : whole.shape[1]], whole)
    assert not long[:, whole.shape[1] :].any()
    assert MODALITY.decode(media, SampleSpec("audio", (2, 0), rate=8000)).shape == (2, round(whole.shape[1] / 2))


def test_values_survive_tensors_and_files_exactly() -> None:
    import torch

    values = torch.tensor([[-32768, -1, 0, 1, 32767]], dtype=torch.int16)
    assert torch.equal(MODALITY.denormalise(MODALITY.normalise(values)), values)
    noisy = np.random.default_rng(0).integers(-32768, 32768, (2, 3000)).astype(np.int16)
    spec = SampleSpec("audio", (2, 0), rate=12_345.0)
    assert np.array_equal(MODALITY.decode(MODALITY.encode(noisy, spec), spec), noisy)


def test_the_spec_is_what_most_sounds_are() -> None:
    columns = {
        "rate": np.array([8000, 8000, 16_000]),
        "channels": np.array([1, 1, 2]),
        "duration_sec": np.array([0.3, 0.4, 0.5]),
    }
    assert MODALITY.spec(columns, resolution=None, channels=None) == SampleSpec("audio", (1, 3840), rate=8000.0)
    assert MODALITY.spec(columns, resolution=None, channels=2, seconds=0.7).shape == (2, 5600)
