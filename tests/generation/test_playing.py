"""A stream is the sound decoded at once; its pieces come as soon as they can; the file it writes is a WAV."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from typer.testing import CliRunner

from motherlode.cli import app
from motherlode.errors import RecipeError
from motherlode.generation.codecs import FieldCodec
from motherlode.generation.composer import composer
from motherlode.generation.playing import Player, Reach, SoundStream, WavWriter, pace
from motherlode.recipe import GenerateOptions
from motherlode.tokenizer import Tokenizer
from motherlode.training.run import Run

from .fielded import Blocks, fields_run


@pytest.fixture(scope="module")
def run(known_blocks: None, words: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return fields_run(tmp_path_factory.mktemp("fields") / "things", words)


@pytest.fixture(scope="module")
def codec(run: Run) -> FieldCodec:
    return composer(run).codec("speech")


def test_the_reach_is_that_of_the_network(codec: FieldCodec) -> None:
    assert Reach.of(codec) == Reach(1, 1)  # a convolution over three places


def test_a_codec_that_looks_at_everything_cannot_be_streamed(
    codec: FieldCodec, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Blocks.from_codes

    def normalised(self: Blocks, codes: Tensor) -> Tensor:
        return plain(self, codes) / codes.float().mean((1, 2))[:, None, None]

    monkeypatch.setattr(Blocks, "from_codes", normalised)
    with pytest.raises(RecipeError, match="bounded number of places"):
        Reach.of(codec)


@given(num=st.integers(1, 60), seed=st.integers(0, 99), cut=st.integers(1, 9), piece=st.sampled_from([0.001, 0.1, 0.5]))
@settings(max_examples=40, deadline=None)
def test_pieces_are_the_whole(codec: FieldCodec, num: int, seed: int, cut: int, piece: float) -> None:
    codes = np.random.default_rng(seed).integers(0, codec.field.sizes, (num, 2))
    tokens = codec.field.tokens_of(codes).astype(np.int64)
    stream, reach = SoundStream(codec, Reach.of(codec), piece), Reach.of(codec)
    found, heard = [], 0
    for place in range(0, len(tokens), cut):
        is_whole = place + cut >= len(tokens)
        found.append(stream.feed(tokens[place : place + cut], is_whole=is_whole))
        heard += found[-1].shape[1]
        known = min(place + cut, len(tokens)) // 2
        assert heard <= known * 20  # nothing is heard before its codes are known
        if piece == 0.001 and not is_whole:
            assert heard == max(0, known - reach.ahead) * 20  # nothing certain is held back
    joined, whole = np.concatenate(found, 1), codec.media(tokens)
    assert joined.shape == whole.shape == (1, num * 20)
    assert np.abs(joined.astype(int) - whole.astype(int)).max() <= 1


def test_what_is_played_is_what_is_generated(run: Run) -> None:
    made_with = composer(run, GenerateOptions(task="say"))
    asked = made_with.asked(["the lode", "label=Bag", "label=Coat"])
    at_once = list(made_with.compositions(asked, made_with.parts(asked, range(3), 7)))
    for number in range(3):
        pieces = [heard for heard in Player.open(made_with).play(asked, 3, 7) if heard.number == number]
        assert {heard.rate for heard in pieces} == {1000}
        assert [heard.finished is None for heard in pieces] == [True] * (len(pieces) - 1) + [False]
        finished = pieces[-1].finished
        assert finished is not None
        expected = at_once[number].made["speech"]
        assert isinstance(expected, np.ndarray)
        assert np.array_equal(finished.made["speech"], expected)
        joined = np.concatenate([heard.samples for heard in pieces], 1).astype(int)
        assert np.abs(joined - expected.astype(int)).max() <= 1
        assert finished.facts["first_chunk_sec"] > 0
        assert finished.facts["seconds"] == expected.shape[1] / 1000


def test_opening_loads_what_the_first_request_needs(run: Run) -> None:
    made_with = composer(run, GenerateOptions(task="say"))
    assert "decoders" not in vars(made_with.author)
    player = Player.open(made_with)
    assert "decoders" in vars(made_with.author)
    assert (player.name, player.reach) == ("speech", Reach(1, 1))


def test_only_sound_is_streamed(run: Run) -> None:
    made_with = composer(run, GenerateOptions(task="draw"))
    with pytest.raises(RecipeError, match="only sound is streamed"):
        Player.open(made_with)


def test_the_pace_is_what_a_player_sees() -> None:
    # A second of sound in each piece; the third comes half a second after the second has been played.
    facts = pace([(0.2, 1000), (0.7, 1000), (2.7, 1000)], 1000)
    assert facts == {"first_chunk_sec": 0.2, "stall_sec": 0.5, "seconds": 3.0, "real_time_factor": 1.25}
    assert pace([(0.1, 500)], 1000) == {"first_chunk_sec": 0.1, "stall_sec": 0.0, "seconds": 0.5}


def test_a_wav_can_be_read_when_it_is_finished_and_when_it_is_not(tmp_path: Path) -> None:
    samples = np.arange(-600, 600, dtype=np.int16).reshape(2, 600, order="F")
    path = tmp_path / "said.wav"
    with path.open("wb") as file:
        writer = WavWriter(file)
        writer.write(samples[:, :100], 8000)
        assert len(path.read_bytes()) == 44 + 400  # is there at once
        writer.write(samples[:, 100:], 8000)
        writer.finish()
    found, rate = soundfile.read(path, dtype="int16")
    assert rate == 8000
    assert np.array_equal(found.T, samples)

    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    pipe = Pipe()
    writer = WavWriter(pipe)
    writer.write(samples, 8000)
    writer.finish()
    assert pipe.getvalue()[4:8] == pipe.getvalue()[40:44] == b"\xff" * 4
    assert pipe.getvalue()[44:] == samples.T.tobytes()


def test_the_command_writes_sound_to_standard_output(run: Run, tmp_path: Path) -> None:
    words = ["generate", str(run.path), "-p", "the lode", "--label", "Bag", "--set", "generate.task=say", "--stream"]
    result = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert result.stdout_bytes[:4] == b"RIFF"
    assert "first_chunk_sec" in result.stderr
    assert '"first_chunk_sec"' in (tmp_path / "out" / "samples.jsonl").read_text()


def test_the_command_writes_a_page(run: Run, tmp_path: Path) -> None:
    words = ["generate", str(run.path), "--label", "Bag", "-n", "2", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert "index.html" in result.output
    assert (tmp_path / "out" / "1.image.png").is_file()
