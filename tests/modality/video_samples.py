"""Small clips and files of every kind, made on the spot."""

from __future__ import annotations

import struct
import tempfile
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import av
import numpy as np
from PIL import Image

from motherlode.modality.video.files import write_mp4

RATE = 8.0


def scene(seed: int, frames: int = 20, height: int = 48, width: int = 64, speed: int = 1) -> np.ndarray:
    """uint8 (F, H, W, 3): a camera pans over a random landscape; scenes of different seeds have nothing in common."""
    rng = np.random.default_rng(seed)
    wide = width + speed * frames
    small = np.clip(rng.integers(30, 226, (6, 10, 1)) + rng.integers(-30, 31, (6, 10, 3)), 0, 255).astype(np.uint8)
    picture = np.asarray(Image.fromarray(small).resize((wide, height), Image.Resampling.BICUBIC))
    return np.stack([picture[:, speed * t : speed * t + width] for t in range(frames)])


def mp4(clip: np.ndarray, rate: float = RATE) -> bytes:
    return write_mp4(clip, rate, quality=10)


def film(
    clip: np.ndarray,
    *,
    file_format: str = "mp4",
    codec: str = "libx264",
    times_ms: list[int] | None = None,
    rotation: int = 0,
    sound: bool = False,
    first: bool = False,
) -> bytes:
    """A file of any format; frames at any times; turned by metadata; with a sound track; with its index first."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film"
        options = {"movflags": "+faststart"} if first else {}
        with av.open(str(path), "w", format=file_format, options=options) as container:
            stream = container.add_stream(codec, rate=Fraction(RATE))
            stream.height, stream.width = clip.shape[1:3]
            stream.pix_fmt = "yuv420p" if codec != "ffv1" else "bgr0"
            if codec == "libx264":
                stream.codec_context.options = {"crf": "5", "bf": "0"}
            if rotation:
                stream.set_display_rotation(rotation)
            tone = container.add_stream("aac" if file_format == "mp4" else "libvorbis", rate=16000) if sound else None
            if times_ms is not None:
                stream.codec_context.time_base = Fraction(1, 1000)
            for number, pixels in enumerate(clip):
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
                if times_ms is not None:
                    frame.pts, frame.time_base = times_ms[number], Fraction(1, 1000)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
            if tone is not None:
                container.mux(_silence(tone))
        return path.read_bytes()


def _silence(stream: av.AudioStream) -> list[av.Packet]:
    packets = []
    for number in range(8):
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.rate, frame.pts, frame.time_base = 16000, number * 1024, Fraction(1, 16000)
        packets += stream.encode(frame)
    return [*packets, *stream.encode()]


def song() -> bytes:
    """Sound alone, in an MP4."""
    buffer = BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=16000)
        stream.layout = "mono"
        container.mux(_silence(stream))
    return buffer.getvalue()


def header_only(media: bytes) -> bytes:
    """An MP4 whose index stands first, cut where the samples begin."""
    return media[: media.index(b"mdat") - 4]


def huge(media: bytes, width: int = 60_000, height: int = 60_000) -> bytes:
    """An AVI or GIF that claims to be enormous."""
    assert media[:4] == b"GIF8"
    return media[:6] + struct.pack("<HH", width, height) + media[10:]


def gif(clip: np.ndarray, duration_ms: int = 125) -> bytes:
    frames = [Image.fromarray(frame) for frame in clip]
    return _save(frames, "GIF", duration=duration_ms)


def alpha_gif(frames: int = 16) -> bytes:
    """A red square that moves over nothing."""
    pictures = []
    for number in range(frames):
        picture = np.zeros((32, 32, 4), np.uint8)
        picture[8:20, number : number + 12] = (255, 0, 0, 255)
        pictures.append(Image.fromarray(picture))
    return _save(pictures, "GIF", duration=125, disposal=2, transparency=0)


def animated(clip: np.ndarray, kind: str) -> bytes:
    """Lossless WebP or PNG."""
    options = {"lossless": True} if kind == "WEBP" else {}
    return _save([Image.fromarray(frame) for frame in clip], kind, duration=125, **options)


def _save(frames: list[Image.Image], kind: str, **options: object) -> bytes:
    buffer = BytesIO()
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:], loop=0, **options)
    return buffer.getvalue()
