"""Sound that plays while it is generated: pieces of waveform as soon as the codes that decide them are there.

A decoder of sound reaches only so many places to either side of the one it makes. How many is measured once, by
changing one place of random codes and looking which samples change. A piece is decoded from its own places and those
within reach, so that the pieces, joined, are the sound decoded at once, to the rounding of float32. What it costs is
the places within reach, decoded again with every piece; what it waits for is the reach ahead. Samples are made one
after another, because the first piece of the first is what somebody waits for.

Shape legend: P places, Q quantisers, C channels, T samples of sound.
"""

from __future__ import annotations

import io
import math
import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from motherlode.errors import RecipeError
from motherlode.generation.codecs import FieldCodec
from motherlode.randomness import numpy_generator

if TYPE_CHECKING:
    from motherlode.generation.asking import Asked
    from motherlode.generation.composer import Composer, Composition
    from motherlode.generation.composing import Part

PIECE_SEC = 0.16
"""Length of a piece; shorter ones come sooner and cost more."""
_FIRST_PLACES, _MOST_PLACES = 64, 1024
_WARM_PARTS = 8
_UNKNOWN = 0xFFFFFFFF


@dataclass(frozen=True)
class Reach:
    """How far places act: samples of place p are decided by places p − behind to p + ahead."""

    behind: int
    ahead: int

    @classmethod
    def of(cls, codec: FieldCodec) -> Reach:
        """The reach of a codec's decoder, measured.

        Raises:
            RecipeError: every sample depends on all places, so that nothing can be heard before the end.
        """
        rng = numpy_generator(0, "reach")
        num = _FIRST_PLACES
        while num <= _MOST_PLACES:
            found = cls._within(codec, num, rng)
            if found is not None:
                return found
            num *= 2
        raise RecipeError(
            "a codec's decoder must reach a bounded number of places to be streamed",
            f"{codec.field.name}: more than {_MOST_PLACES // 2} to a side",
            "generate without --stream, or train a codec without normalisation over time",
        )

    @classmethod
    def _within(cls, codec: FieldCodec, num: int, rng: np.random.Generator) -> Reach | None:
        """The reach, if it is less than half of `num` places; else None."""
        sizes, middle = np.array(codec.field.sizes), num // 2
        behind = ahead = 0
        for _ in range(3):
            codes_PQ = rng.integers(0, sizes, (num, len(sizes)))
            other_PQ = codes_PQ.copy()
            other_PQ[middle] = (other_PQ[middle] + 1 + rng.integers(0, sizes - 1)) % sizes
            pair = codec.normalised(np.stack([codes_PQ, other_PQ]))
            changed_T = np.flatnonzero((pair[0] != pair[1]).any(0))
            if not len(changed_T):
                continue
            stride = pair.shape[-1] // num
            first, last = int(changed_T[0]) // stride, int(changed_T[-1]) // stride
            if first == 0 or last == num - 1:
                return None
            behind, ahead = max(behind, last - middle), max(ahead, middle - first)
        return cls(behind, ahead)


class SoundStream:
    """Codes in, samples out, as soon as they are certain.

    Args:
        codec: of a field of sound.
        reach: of it.
        piece_sec: least length of a piece.
    """

    def __init__(self, codec: FieldCodec, reach: Reach, piece_sec: float = PIECE_SEC) -> None:
        self._codec, self._reach = codec, reach
        (self._stride,) = codec.codec.space.stride
        self._piece_places = max(1, math.ceil(piece_sec * codec.spec.rate / self._stride))
        self._codes: list[NDArray[np.int64]] = []
        self._tokens: list[int] = []
        self._done = 0

    def feed(self, tokens_T: NDArray[np.int64], *, is_whole: bool) -> NDArray[np.int16]:
        """Take tokens of the field; samples int16 (C, T) that nothing to come can change.

        Args:
            tokens_T: any number.
            is_whole: no more will come.
        """
        self._tokens += tokens_T.tolist()
        width = len(self._codec.field.sizes)
        num_whole = len(self._tokens) // width
        if num_whole:
            self._codes += list(self._codec.field.codes_of(np.array(self._tokens[: num_whole * width])))
            del self._tokens[: num_whole * width]
        ready = len(self._codes) if is_whole else len(self._codes) - self._reach.ahead
        if ready <= self._done or (not is_whole and ready - self._done < self._piece_places):
            return np.empty((self._codec.spec.shape[0], 0), np.int16)
        first = max(0, self._done - self._reach.behind)
        end = min(len(self._codes), ready + self._reach.ahead)
        samples = self._codec.samples(np.stack(self._codes[first:end]))
        piece: NDArray[np.int16] = samples[:, (self._done - first) * self._stride : (ready - first) * self._stride]
        self._done = ready
        return piece


@dataclass(frozen=True)
class Heard:
    """A piece of sound.

    Args:
        number: of the sample it belongs to.
        samples: int16 (C, T).
        rate: samples a second.
        finished: the whole sample, with the last piece of it; its facts say how fast it was.
    """

    number: int
    samples: NDArray[np.int16]
    rate: int
    finished: Composition | None = None


@dataclass(frozen=True)
class Player:
    """A task that makes sound, opened so that the first request is as quick as any later one.

    Args:
        made_with: the run and the task.
        name: the field that is heard.
        reach: of its codec.
    """

    made_with: Composer
    name: str
    reach: Reach

    @classmethod
    def open(cls, made_with: Composer) -> Player:
        """Measure the codec's reach and write a few tokens, so that compiled code is loaded before anybody waits.

        Loading it is 0.6 s of processor time, five times what the first piece of sound takes after it.

        Raises:
            RecipeError: the task makes no sound, or its codec cannot be streamed.
        """
        fields = [name for name in made_with.task.make if made_with.layout.field(name).modality == "audio"]
        if not fields:
            task = f"the task {made_with.task.name} makes none"
            raise RecipeError("only sound is streamed", task, "leave out --stream")
        for _ in islice(made_with.parts(made_with.asked(None), range(1), 0), _WARM_PARTS):
            pass
        return cls(made_with, fields[0], Reach.of(made_with.codec(fields[0])))

    def play(self, asked: Sequence[Asked], num: int, seed: int) -> Iterator[Heard]:
        """Samples, piece by piece, one sample after another.

        The facts of a finished one: `first_chunk_sec` from asking to its first piece, `real_time_factor`, seconds of
        work for a second of sound after that piece, and `stall_sec`, how long a player that begins with the first piece
        waits.
        """
        for number in range(num):
            yield from self._sample(asked, number, seed)

    def _sample(self, asked: Sequence[Asked], number: int, seed: int) -> Iterator[Heard]:
        started = time.perf_counter()
        codec = self.made_with.codec(self.name)
        rate, stream = int(codec.spec.rate), SoundStream(codec, self.reach)
        pieces: list[tuple[float, int]] = []
        parts: list[Part] = []
        for part in self.made_with.parts(asked, range(number, number + 1), seed):
            parts.append(part)
            if part.name == self.name:
                samples = stream.feed(part.tokens_T, is_whole=part.is_whole)
                if samples.shape[1]:
                    pieces.append((time.perf_counter() - started, samples.shape[1]))
                    yield Heard(number, samples, rate)
        (finished,) = self.made_with.compositions(asked, parts, first=number)
        silence = np.empty((codec.spec.shape[0], 0), np.int16)
        yield Heard(number, silence, rate, replace(finished, facts=pace(pieces, rate)))


def pace(pieces: Sequence[tuple[float, int]], rate: int) -> dict[str, Any]:
    """How fast pieces of sound came.

    Args:
        pieces: when each came, in seconds after it was asked for, and how many samples it has.
        rate: samples a second.
    """
    first_sec, played = pieces[0][0], pieces[0][0]
    stall_sec = 0.0
    for came_sec, num in pieces:
        stall_sec += max(0.0, came_sec - played)
        played = max(played, came_sec) + num / rate
    later = sum(num for _, num in pieces[1:]) / rate
    facts = {"first_chunk_sec": first_sec, "stall_sec": stall_sec, "seconds": sum(num for _, num in pieces) / rate}
    if later:
        facts["real_time_factor"] = (pieces[-1][0] - first_sec) / later
    return {key: round(value, 4) for key, value in facts.items()}


class WavWriter:
    """A WAV file of 16 bits that can be read while it grows; its header says how long it is once that is known.

    Args:
        file: open for bytes; one that cannot seek keeps the header of a stream without end, which players take.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._num_bytes = file, 0
        self._start = file.tell() if file.seekable() else 0
        self._format: tuple[int, int] | None = None

    def write(self, samples: NDArray[np.int16], rate: int) -> None:
        """Add samples int16 (C, T)."""
        if self._format is None:
            self._format = samples.shape[0], rate
            self._file.write(_header(*self._format, _UNKNOWN))
        content = samples.T.astype("<i2").tobytes()
        self._num_bytes += len(content)
        self._file.write(content)
        self._file.flush()

    def finish(self) -> None:
        """Say how long it is."""
        if self._format is None or not self._file.seekable():
            return
        self._file.seek(self._start)
        self._file.write(_header(*self._format, self._num_bytes))
        self._file.seek(0, io.SEEK_END)


def _header(channels: int, rate: int, num_bytes: int) -> bytes:
    """Of a RIFF file of PCM samples (Microsoft and IBM 1991)."""
    riff = num_bytes if num_bytes == _UNKNOWN else num_bytes + 36
    form = struct.pack("<HHIIHH", 1, channels, rate, rate * channels * 2, channels * 2, 16)
    return struct.pack("<4sI4s4sI16s4sI", b"RIFF", riff, b"WAVE", b"fmt ", 16, form, b"data", num_bytes)
