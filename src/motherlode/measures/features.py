"""Extractors turn images into the feature vectors that measures compare, and carry the name every number must show.

| name | network | features | resize |
|---|---|---|---|
| `efficientnet-lite0` | ImageNet classifier, weights in an optional package | 1280 | 64, bilinear |
| `inception-v3`, or a `.pth` file | the published FID's; needs its weights | 2048 | 299, TensorFlow's bilinear |
| `raw-pixels` | none: the pixels of a 16 x 16 picture; a floor, not a judge | 16·16·C | 16, bilinear |
| `package.module:attribute`, `file.py:attribute`, a TorchScript file, an `nn.Module` | yours | yours | none |

Options follow a name like a query: `inception-v3?weights=PATH&sha256=6726825d…`, `efficientnet-lite0?resize=native`.
Float32 by default: bfloat16 is faster where the hardware has it but shifted a distance by 2 on identical images, so it
must be asked for and is recorded with every number.

Shape legend: N images, C channels, H height, W width, D features, K classes.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable
from urllib.parse import parse_qsl

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from motherlode import storage
from motherlode.errors import MeasureError, MissingExtraError
from motherlode.measures import efficientnet
from motherlode.measures.fid_inception import PUBLISHED_SHA256_PREFIX, FidInception
from motherlode.registry import did_you_mean

NAMES = ("efficientnet-lite0", "inception-v3", "raw-pixels")
_BATCH = 64
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class Features(NamedTuple):
    """What an extractor gives: features (N, D) and, from a classifier, logits (N, K); both float32."""

    features_ND: NDArray[np.float32]
    logits_NK: NDArray[np.float32] | None


@runtime_checkable
class Extractor(Protocol):
    """Turns uint8 samples (N, C, H, W) into features.

    Attributes:
        name: shown with every number, e.g. "efficientnet-lite0".
        num_features: D.
        dtype: what it computes in, "float32" or "bfloat16".
        resize: what happens to images first, e.g. "bilinear 64", "none".
        fingerprint: hash of its weights and options; features are cached under it.
        published: whether these are the weights of the measure's paper, so that its short name (FID) may be used.
    """

    name: str
    num_features: int
    dtype: str
    resize: str
    fingerprint: str
    published: bool

    def __call__(self, samples: Any) -> Features:
        """Features of uint8 samples (N, C, H, W)."""
        ...

    def layers(self, samples: Any) -> list[Tensor]:
        """Feature maps (N, C, H, W) of one batch, for a perceptual distance; an empty list where there are none."""
        ...


class ImageExtractor:
    """An extractor made of a torch module.

    Args:
        name: of the extractor.
        module: float32 images → (features (N, D), logits (N, K)), or features alone.
        prepare: uint8 images as float32 in [0, 255], resized, → what `module` takes.
        resize: side in pixels, or None to leave images as they are.
        dtype: "float32" or "bfloat16".
        fingerprint: hash of the weights.
        published: see `Extractor`.
        resize_name: replaces the name of the resize, where `module` resizes by itself.
        colour: repeat grey images to three channels.
        device: where to compute; "auto" takes a CUDA device where there is one.
    """

    def __init__(
        self,
        name: str,
        module: nn.Module,
        prepare: Callable[[Tensor], Tensor],
        *,
        resize: int | None = None,
        dtype: str = "float32",
        fingerprint: str = "",
        published: bool = False,
        resize_name: str = "",
        colour: bool = True,
        device: str = "auto",
    ) -> None:
        if dtype not in _DTYPES:
            raise MeasureError("an extractor computes in float32 or bfloat16", dtype, did_you_mean(dtype, [*_DTYPES]))
        device = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        self.name, self.dtype, self.published = name, dtype, published
        self.resize = resize_name or (f"bilinear {resize}" if resize else "none")
        self.fingerprint = storage.hash_bytes(f"{name} {fingerprint} {self.resize} {dtype}".encode())
        self.module = module.eval().to(device)
        self._prepare, self._size, self._colour, self._device = prepare, resize, colour, torch.device(device)
        self.num_features = 0

    def __call__(self, samples: Any) -> Features:
        """Features of uint8 samples (N, C, H, W), 64 at a time."""
        samples = as_images(samples)
        batches = samples.split(_BATCH) if len(samples) else ()
        if not batches:
            raise MeasureError("an extractor needs at least one sample", 0, "give more samples")
        with workers(self._device, len(batches)) as each:
            features, logits = zip(*each(self._look, batches), strict=True)
        whole = np.concatenate(features)
        self.num_features = whole.shape[1]
        return Features(whole, np.concatenate(logits) if logits[0] is not None else None)

    def _look(self, batch: Tensor) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        with torch.inference_mode(), self._precision():
            output = self.module(self._ready(batch))
        feature, logit = output if isinstance(output, tuple) else (output, None)
        return feature.float().flatten(1).cpu().numpy(), None if logit is None else logit.float().cpu().numpy()

    def layers(self, samples: Any) -> list[Tensor]:
        """Feature maps of one batch where the module has a method `layers`; else none."""
        maps: Callable[[Tensor], list[Tensor]] | None = getattr(self.module, "layers", None)
        if maps is None:
            return []
        with torch.inference_mode(), self._precision():
            return [x.float() for x in maps(self._ready(as_images(samples)))]

    def _ready(self, samples: Tensor) -> Tensor:
        images = samples.to(self._device).float()
        if self._colour:
            images = images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images[:, :3]
        if self._size is not None and images.shape[2:] != (self._size, self._size):
            smaller = min(images.shape[2:]) > self._size
            size = (self._size, self._size)
            images = F.interpolate(images, size, mode="bilinear", align_corners=False, antialias=smaller)
        return self._prepare(images).contiguous(memory_format=torch.channels_last)

    def _precision(self) -> AbstractContextManager[Any]:
        if self.dtype == "float32":
            return nullcontext()
        return torch.autocast(self._device.type, _DTYPES[self.dtype])


@contextmanager
def workers(device: torch.device, num_batches: int) -> Iterator[Callable[..., Iterable[Any]]]:
    """A `map` over batches: on CPUs in a thread a core, torch itself using one in each.

    Small images give torch too little to share between its own threads: on two cores it ran 2-8 times slower with two
    than with one. One thread a batch also makes features independent of the number of cores.
    """
    if device.type != "cpu":
        yield map
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(min(before, num_batches)) as pool:
            yield pool.map
    finally:
        torch.set_num_threads(before)


def as_images(samples: Any) -> Tensor:
    """uint8 (N, C, H, W) as a tensor; see `as_bytes`."""
    return as_bytes(samples, "samples", "N, C, H, W")


def as_bytes(samples: Any, name: str, axes: str) -> Tensor:
    """uint8 samples as a tensor.

    Args:
        samples: an array or a tensor.
        name: what the message calls them.
        axes: as many as they must have, e.g. "N, C, H, W".

    Raises:
        MeasureError: another dtype or shape.
    """
    if isinstance(samples, np.ndarray):
        samples = torch.from_numpy(samples if samples.flags.writeable else samples.copy())
    if not isinstance(samples, Tensor) or samples.dtype != torch.uint8 or samples.ndim != axes.count(",") + 1:
        got = f"{getattr(samples, 'dtype', type(samples).__name__)} {tuple(getattr(samples, 'shape', ()))}"
        raise MeasureError(f"{name} must be uint8 of shape ({axes})", got, "denormalise them first")
    return samples


def find_extractor(source: str | Path | nn.Module | Extractor = "auto", **options: Any) -> Extractor:
    """The extractor a recipe, a user or `auto` means.

    Args:
        source: a name of the table above, with options after `?`; a path; a module; or an extractor, returned as it is.
        options: `resize` (pixels or "native"), `dtype`, `weights`, `sha256`, `device`.

    Raises:
        MeasureError: unknown name or option, or weights that are missing or of another network.
        MissingExtraError: the package of `efficientnet-lite0` is not installed.
    """
    if isinstance(source, nn.Module):
        return _from_module(source, type(source).__name__, options)
    if not isinstance(source, str | Path):
        return source
    name, _, query = str(source).partition("?")
    options = {**dict(parse_qsl(query, keep_blank_values=True)), **options}
    if name == "auto":
        name = _best_installed()
    makers: dict[str, Callable[..., Extractor]] = {
        "efficientnet-lite0": _efficientnet,
        "inception-v3": _inception,
        "raw-pixels": _raw_pixels,
    }
    if name in makers:
        return _call(makers[name], name, options)
    if Path(name).suffix in (".pth", ".safetensors"):
        return _call(_inception, "inception-v3", {"weights": name, **options})
    if Path(name).suffix in (".pt", ".ts", ".torchscript") and Path(name).is_file():
        return _from_module(_torchscript(Path(name)), Path(name).stem, options)
    if ":" in name:
        return _from_module(_attribute(name), name.rpartition(":")[2], options)
    fix = f"{did_you_mean(name, [*NAMES])} (or your own: module:attribute, file.py:attribute, a TorchScript file)"
    raise MeasureError("there is no extractor of this name", name, fix)


def _best_installed() -> str:
    try:
        efficientnet.weights_path()
    except MissingExtraError:
        return "raw-pixels"
    return "efficientnet-lite0"


def _call(maker: Callable[..., Extractor], name: str, options: dict[str, Any]) -> Extractor:
    known = list(inspect.signature(maker).parameters)
    for key in options:
        if key not in known:
            raise MeasureError(f"extractor {name} has no option of this name", key, did_you_mean(key, known))
    return maker(**options)


def _side(resize: int | str, default: int) -> int | None:
    """Pixels from the option `resize`: a number, "native" for none, "" for the default."""
    if resize == "native":
        return None
    try:
        side = int(resize or default)
    except ValueError:
        side = 0
    if side < 1:
        raise MeasureError('resize must be "native" or a side in pixels', resize, "e.g. resize=64")
    return side


def _efficientnet(*, resize: int | str = "", dtype: str = "float32", device: str = "auto") -> Extractor:
    network = efficientnet.EfficientNetLite0()
    extractor = ImageExtractor(
        "efficientnet-lite0",
        network,
        lambda images: (images - 127) / 128,
        resize=_side(resize, 64),
        dtype=dtype,
        fingerprint=network.sha256,
        device=device,
    )
    extractor.num_features = efficientnet.NUM_FEATURES
    return extractor


class _ScoreInception(nn.Module):
    """The FID network with the logits its score is taken from."""

    def __init__(self, network: FidInception) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        output = self.network(images / 255)
        return output.features, self.network.logits_without_bias(output.logits)


def _inception(
    *, weights: str | Path = "", sha256: str | None = None, dtype: str = "float32", device: str = "auto"
) -> Extractor:
    if not weights:
        raise MeasureError(
            "inception-v3 needs the published FID weights, which no package carries",
            None,
            "inception-v3?weights=PATH_OR_URL&sha256=…  (pt_inception-2015-12-05-6726825d.pth)",
        )
    network = FidInception(weights, sha256=sha256)
    digest = network.sha256 or ""
    extractor = ImageExtractor(
        "inception-v3",
        _ScoreInception(network),
        lambda images: images,
        dtype=dtype,
        fingerprint=digest,
        published=digest.startswith(PUBLISHED_SHA256_PREFIX) and dtype == "float32",
        resize_name="tensorflow bilinear 299",
        device=device,
    )
    extractor.num_features = 2048
    return extractor


def _raw_pixels(*, resize: int | str = "", dtype: str = "float32", device: str = "auto") -> Extractor:
    return ImageExtractor(
        "raw-pixels",
        nn.Flatten(),
        lambda images: images / 127.5 - 1,
        resize=_side(resize, 16),
        dtype=dtype,
        colour=False,
        device=device,
    )


def _from_module(module: nn.Module, name: str, options: dict[str, Any]) -> Extractor:
    """A user's module: float32 images in [0, 1], as many channels as the samples have."""

    def make(
        *, resize: int | str = "native", dtype: str = "float32", colour: str = "", device: str = "auto"
    ) -> Extractor:
        fingerprint = state_fingerprint(module)
        return ImageExtractor(
            f"{name}-{fingerprint[:8]}",
            module,
            lambda images: images / 255,
            resize=_side(resize, 0),
            dtype=dtype,
            fingerprint=fingerprint,
            colour=colour == "rgb",
            device=device,
        )

    return _call(make, name, options)


def state_fingerprint(module: nn.Module) -> str:
    """Hash of a module's class name, layer names and weights."""
    parts = [type(module).__name__]
    for key, value in module.state_dict().items():
        content = value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy() if value.numel() else b""
        parts.append(f"{key} {tuple(value.shape)} {storage.hash_bytes(memoryview(content))}")
    return storage.hash_bytes("\n".join(parts).encode())


def _torchscript(path: Path) -> nn.Module:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            module: nn.Module = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]
        except RuntimeError as error:
            raise MeasureError(
                "the file must be a TorchScript module", str(path), str(error).splitlines()[0]
            ) from error
    return module


def _attribute(name: str) -> nn.Module:
    """The module, class or factory at `package.module:attribute` or `file.py:attribute`."""
    place, _, attribute = name.rpartition(":")
    try:
        if place.endswith(".py"):
            spec = importlib.util.spec_from_file_location(Path(place).stem, place)
            if spec is None or spec.loader is None:
                raise ImportError(f"cannot read {place}")
            home = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(home)
        else:
            home = importlib.import_module(place)
        found = getattr(home, attribute)
        if callable(found) and not isinstance(found, nn.Module):
            found = found()
    except (ImportError, OSError, AttributeError, TypeError) as error:
        raise MeasureError("the extractor's module must be importable", name, str(error)) from error
    if not isinstance(found, nn.Module):
        raise MeasureError(
            "the extractor must be an nn.Module or make one", f"{name}: {type(found).__name__}", "name a class"
        )
    return found
