"""What counts as a fit clip, and the form in which it is kept.

A filter is switched off by the value its description names. The defaults keep two seconds at eight frames a second,
frames no longer than 192 pixels: what models of a few cores or one GPU learn from, at about 0.3 MB a clip.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from motherlode.recipe import Strict

REASONS: dict[str, str] = {
    "empty": "a file of no bytes",
    "unknown_format": "not a file of a kind that can be read",
    "undecodable": "damaged, or not what it says it is",
    "truncated": "ends too early",
    "decompression_bomb": "its header asks for far too many pixels; never decoded",
    "no_video": "sound alone, or nothing at all",
    "single_frame": "a still picture",
    "too_small": "smaller than the least side",
    "too_short": "no shot of it lasts long enough",
    "black": "almost black from end to end",
    "near_constant": "nothing on it from end to end",
    "frozen": "nothing moves",
    "near_duplicate": "the same clip re-encoded, resized, mirrored or trimmed a little",
}
"""Every reason for which a clip is dropped, and what it means to a person."""


class Clean(Strict):
    """The section `clean` of `prepare` for video."""

    rate: float | None = Field(
        8.0, gt=0, le=120, description="frames a second of the normal form; null keeps each file's own average"
    )
    frames: int = Field(16, ge=2, le=1024, description="frames of the normal form: as many of a longer shot are kept")
    seconds: float | None = Field(
        None, gt=0, le=600, description="length of the normal form, in place of `frames`; needs `rate`"
    )
    min_frames: int | None = Field(
        None, ge=2, description="no shot has as many: too_short; default: three quarters of `frames`"
    )
    resolution: int | None = Field(None, ge=8, le=1024, description="make every frame exactly this many pixels square")
    max_side: int | None = Field(192, ge=8, le=4096, description="shrink frames whose longer side exceeds this")
    fit: Literal["crop", "pad", "stretch"] = Field(
        "crop", description="how `resolution` makes a square: cut the middle out, add black, or squeeze"
    )
    colour: Literal["keep", "grey", "rgb"] = Field(
        "keep", description="keep grey clips grey and coloured ones coloured, or make all one"
    )
    background: tuple[int, int, int] = Field((255, 255, 255), description="what shows through transparent pixels")
    cut: bool = Field(True, description="never let a clip run over a shot cut: keep the first shot long enough")
    max_seconds: float = Field(
        60.0, gt=0, le=3600, description="so much of a file is looked through for a shot; the rest is never read"
    )
    max_pixels: int = Field(
        16_000_000, ge=64, le=178_956_970, description="more pixels a frame in the header: decompression_bomb"
    )
    min_side: int = Field(16, ge=1, description="shorter side below this many pixels: too_small")
    min_light: float = Field(
        24.0, ge=0, le=255, description="brightest hundredth of luma below this in every frame: black; 0: off"
    )
    min_contrast: float = Field(
        2.0, ge=0, description="standard deviation of luma (0-255) below this in every frame: near_constant; 0: off"
    )
    min_motion: float = Field(
        0.15, ge=0, description="most that luma at 32x32 differs from the first frame's, on average: frozen; 0: off"
    )

    @property
    def num_frames(self) -> int:
        """Frames of the normal form at most."""
        if self.seconds is None or self.rate is None:
            return self.frames
        return max(2, round(self.seconds * self.rate))

    @property
    def least_frames(self) -> int:
        """Frames of the normal form at least."""
        return self.min_frames or max(2, self.num_frames * 3 // 4)
