"""Which stretch of a film becomes the sample: frames at an even rate, shot cuts, the first shot that lasts long enough.

Frames are resampled by their time stamps: output frame k is what was on the screen at (k + 1/2) / rate, so variable
rates come out even and a file that has the rate already comes out frame by frame. A cut is where the histogram changes
and the layout with it, both of them: a pan changes neither much from one frame to the next, a flash only the former.
Reading stops as soon as one shot has given enough frames that are not black and not frozen; else the longest is kept.
So a film costs what its beginning costs, and a long one gives one sample, not many: cut it first if you want them all.
Measured by `bench/video.py`: see docs/video.md.

Shape legend: F frames, H height, W width, C channels.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from motherlode.modality.image.decode import Unfit
from motherlode.modality.video.decode import Film, Frame, as_image
from motherlode.modality.video.options import Clean

SIDE = 32
"""Cuts and stillness are judged on frames this large."""
NUM_BINS = 16
MIN_CHANGE, MAX_LIKENESS = 0.2, 0.7
"""A cut: at least this share of the histogram moves, and the layouts correlate by less."""
SURE_LIKENESS = 0.2
"""Layouts this unlike need half the change of the histogram."""
TRUNCATED_SHARE = 0.9
"""A file that gives less than this share of the length it announces ends too early."""


@dataclass(frozen=True, slots=True)
class Look:
    """A frame small enough to remember: luma (32, 32), and a histogram of each colour (C * 16,) that sums to 1."""

    luma: NDArray[np.float32]
    histogram: NDArray[np.float32]

    @property
    def brightest(self) -> float:
        """The hundredth of luma that is brightest begins here."""
        return float(np.quantile(self.luma, 0.99))


@dataclass
class Clip:
    """What was chosen of a film.

    Args:
        frames: shaped pixels, uint8 (H, W, C) each.
        rate: frames a second.
        motion: mean absolute difference of luma (0-255) between one frame and the next, at 32x32.
        change: most that luma differs from the first frame's, likewise.
        cuts: shot cuts in what was read.
        width, height: of the film, upright.
        seen_sec: length of what was read.
    """

    frames: list[NDArray[np.uint8]]
    rate: float
    motion: float
    change: float
    cuts: int
    width: int
    height: int
    seen_sec: float


@dataclass
class _Run:
    """The last frames of the present shot, at most as many as a clip takes."""

    most: int
    looks: deque[Look] = field(default_factory=deque)
    frames: deque[NDArray[np.uint8]] = field(default_factory=deque)

    def add(self, look: Look, pixels: NDArray[np.uint8]) -> None:
        if len(self.looks) == self.most:
            self.looks.popleft()
            self.frames.popleft()
        self.looks.append(look)
        self.frames.append(pixels)

    def change(self) -> float:
        """Most that luma differs from the first frame's, on average over the frame."""
        first = self.looks[0].luma
        return max(float(np.abs(look.luma - first).mean()) for look in self.looks)

    def motion(self) -> float:
        """Mean absolute difference from one frame to the next."""
        luma = np.stack([look.luma for look in self.looks])
        return float(np.abs(np.diff(luma, axis=0)).mean()) if len(luma) > 1 else 0.0


def at_rate(frames: Iterable[Frame], rate: float) -> Iterator[Frame]:
    """The frame on the screen at (k + 1/2) / rate, for k = 0, 1, …"""
    number = 0
    last: Frame | None = None
    for frame in frames:
        while last is not None and (number + 0.5) / rate < frame.start_sec:
            yield last
            number += 1
        last = frame
    while last is not None and (number + 0.5) / rate < last.stop_sec:
        yield last
        number += 1


def choose(film: Film, options: Clean, shape: Callable[[NDArray[np.uint8]], NDArray[np.uint8]]) -> Clip:
    """Go through a film until a shot has given a clip.

    Args:
        film: just opened.
        options: the section `clean`.
        shape: brings the pixels of a frame to the size of the normal form.

    Raises:
        Unfit: "single_frame", "too_short", "truncated", or why the film cannot be read.
    """
    rate = options.rate or film.header.rate or Clean().rate or 8.0
    reader = _Reader(film, options, rate, shape)
    reader.read()
    best = reader.best
    if len(best.frames) < options.least_frames:
        raise Unfit(reader.why_short())
    return Clip(
        list(best.frames), rate, best.motion(), best.change(), reader.cuts, *reader.size, seen_sec=reader.seen_sec
    )


class _Reader:
    """One walk through a film."""

    def __init__(
        self, film: Film, options: Clean, rate: float, shape: Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
    ) -> None:
        self.film, self.options, self.rate, self.shape = film, options, rate, shape
        self.best = _Run(options.num_frames)
        self.cuts, self.num_read, self.num_dark, self.seen_sec = 0, 0, 0, 0.0
        self.size = (0, 0)
        self.reached_end = False
        self.damage: Unfit | None = None

    def read(self) -> None:
        """Walk until a clip is whole, the film ends, or patience does."""
        run = _Run(self.options.num_frames)
        last: Look | None = None
        try:
            for look, pixels in self._looks():
                if last is not None and self.options.cut and is_cut(last, look):
                    self.cuts += 1
                    self._keep(run)
                    run = _Run(self.options.num_frames)
                last = look
                if not run.looks and look.brightest < self.options.min_light:
                    self.num_dark += 1
                    continue  # a clip does not begin in the dark
                run.add(look, pixels)
                if len(run.looks) == run.most and run.change() >= self.options.min_motion:
                    break
            else:
                self.reached_end = self.seen_sec < self.options.max_seconds
        except Unfit as unfit:
            self.damage = unfit
        self._keep(run)

    def _keep(self, run: _Run) -> None:
        """The better of two shots: long enough and moving, then the longer, then the one in which more changes."""
        if run.looks and (not self.best.looks or self._worth(run) > self._worth(self.best)):
            self.best = run

    def _worth(self, run: _Run) -> tuple[bool, int, float]:
        num, change = len(run.looks), run.change()
        return num >= self.options.least_frames and change >= self.options.min_motion, num, change

    def _looks(self) -> Iterator[tuple[Look, NDArray[np.uint8]]]:
        shown: tuple[Frame, Look, NDArray[np.uint8]] | None = None
        for frame in at_rate(self._counted(), self.rate):
            if shown is None or shown[0] is not frame:
                if frame.is_damaged:
                    raise Unfit("undecodable")
                whole_HWC = frame.pixels()
                self.size = whole_HWC.shape[1], whole_HWC.shape[0]
                pixels = self.shape(whole_HWC)
                shown = frame, look_at(pixels), pixels
            yield shown[1], shown[2]

    def _counted(self) -> Iterator[Frame]:
        for frame in self.film.frames:
            if frame.start_sec >= self.options.max_seconds:
                self.seen_sec = self.options.max_seconds
                return
            self.num_read += 1
            self.seen_sec = min(frame.stop_sec, self.options.max_seconds)
            yield frame

    def why_short(self) -> str:
        """Why no shot was long enough."""
        if self.damage is not None:
            return self.damage.reason
        announced = min(self.film.header.duration_sec, self.options.max_seconds)
        if self.reached_end and self.seen_sec < TRUNCATED_SHARE * announced:
            return "truncated"
        if self.num_read < 2:
            return "single_frame" if self.num_read else "undecodable"
        return "black" if self.num_dark and not self.best.looks else "too_short"


def look_at(pixels_HWC: NDArray[np.uint8]) -> Look:
    """A frame as cuts are judged by."""
    small = np.asarray(as_image(pixels_HWC).resize((SIDE, SIDE), reducing_gap=2.0)).reshape(SIDE, SIDE, -1)
    channels = small.shape[2]
    bins = small.astype(np.int64) * NUM_BINS // 256 + np.arange(channels) * NUM_BINS
    counts = np.bincount(bins.ravel(), minlength=channels * NUM_BINS)
    histogram: NDArray[np.float32] = counts.astype(np.float32) / np.float32(small.size)
    weights = np.array([0.299, 0.587, 0.114], np.float32) if channels == 3 else np.ones(1, np.float32)
    luma: NDArray[np.float32] = small.astype(np.float32) @ weights
    return Look(luma, histogram)


def is_cut(before: Look, after: Look) -> bool:
    """Whether a new shot begins."""
    if len(before.histogram) != len(after.histogram):
        return True
    change = 0.5 * float(np.abs(before.histogram - after.histogram).sum())
    likeness = correlation(before.luma, after.luma)
    needed = MIN_CHANGE / 2 if likeness < SURE_LIKENESS else MIN_CHANGE
    return likeness < MAX_LIKENESS and change > needed


def correlation(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Pearson's, 1 where both are flat."""
    a, b = first - first.mean(), second - second.mean()
    power = float((a * a).sum()) * float((b * b).sum())
    return float((a * b).sum()) / power**0.5 if power > 1e-3 else 1.0
