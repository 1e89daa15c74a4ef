"""Generated sound says so, and sounds the same."""

from io import BytesIO

import numpy as np
import pytest
import soundfile

from motherlode.safety import provenance
from motherlode.safety.sound_marks import marks

FACTS = {"motherlode": "0.1", "run": "codec – größer", "seed": 7}


def sound(file_format: str, num: int = 4001) -> bytes:
    buffer = BytesIO()
    values = np.random.default_rng(0).integers(-20_000, 20_000, num).astype(np.int16)
    soundfile.write(buffer, values, 8000, format=file_format, subtype="PCM_16")
    return buffer.getvalue()


@pytest.mark.parametrize("file_format", ["FLAC", "WAV"])
@pytest.mark.parametrize("num", [1, 4001, 40_000])
def test_facts_travel_inside_and_samples_are_untouched(file_format: str, num: int) -> None:
    media = sound(file_format, num)
    stamped = provenance.stamp(media, FACTS)
    assert provenance.read(stamped) == FACTS
    assert provenance.read(media) is None
    assert marks(stamped)["DIGITALSOURCETYPE"] == provenance.TRAINED_MEDIA
    before, after = (soundfile.read(BytesIO(item), dtype="int16")[0] for item in (media, stamped))
    assert np.array_equal(before, after)
    assert provenance.suffix(stamped) == f".{file_format.lower()}"


@pytest.mark.parametrize("file_format", ["FLAC", "WAV"])
def test_a_second_stamp_of_a_flac_replaces_the_first_and_other_software_reads_it(file_format: str) -> None:
    stamped = provenance.stamp(provenance.stamp(sound(file_format), {"run": "first"}), FACTS)
    with soundfile.SoundFile(BytesIO(stamped)) as file:
        assert file.copy_metadata()["software"] == "Motherlode 0.1"
    if file_format == "FLAC":
        assert provenance.read(stamped) == FACTS


@pytest.mark.parametrize("file_format", ["FLAC", "WAV"])
def test_damaged_files_have_no_marks(file_format: str) -> None:
    stamped = provenance.stamp(sound(file_format), FACTS)
    for end in range(4, len(stamped), 997):
        assert provenance.read(stamped[:end]) in (None, FACTS)
