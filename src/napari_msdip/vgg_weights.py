"""Where the weights of VGG-16 are: a given file, a cache, a download."""

from __future__ import annotations

import importlib.util
import os
import pickle
import re
import socket
import struct
import sys
import tempfile
import threading
import warnings
import zipfile
import zlib
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError

import numpy as np
import numpy.typing as npt
import torch

from napari_msdip.features import VGG_LAYOUT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from napari_msdip.features import Weights

__all__ = [
    "WeightsNotFoundError",
    "cache_directory",
    "check_weight_file",
    "load_vgg16",
    "weights_info",
]

# Position of each convolution in torchvision's ``vgg16().features``.
_TORCHVISION_INDEX: Mapping[str, int] = {
    "conv1_1": 0,
    "conv1_2": 2,
    "conv2_1": 5,
    "conv2_2": 7,
    "conv3_1": 10,
    "conv3_2": 12,
    "conv3_3": 14,
}
# VGG-19 begins like VGG-16, and goes on with a convolution that VGG-16 lacks.
_OF_VGG19, _OF_VGG19_INDEX = "conv3_4", 16
_CAFFE_MEAN_RGB = (123.68, 116.779, 103.939)
_TORCHVISION_MEAN = (0.485, 0.456, 0.406)
_TORCHVISION_STD = (0.229, 0.224, 0.225)
_CONVENTION_KEY = "convention"
_HUB_NAME = "vgg16-397923af.pth"
_CACHED_NAME = "vgg16_conv1_1_to_conv3_3.npz"
# How long a server may be silent before a download is given up, in seconds.
_SILENCE = 60.0
_DOWNLOADING = threading.Lock()
# What NumPy and PyTorch raise for a file of something else.
_UNREADABLE = (
    ValueError,
    TypeError,
    RuntimeError,
    EOFError,
    LookupError,
    AttributeError,
    OverflowError,
    OSError,
    struct.error,
    zlib.error,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
)


class WeightsNotFoundError(FileNotFoundError):
    """No VGG-16 weights, and no way to get them; the message says what to do."""


def cache_directory() -> Path:
    """Return the folder in which the trimmed weights are kept."""
    root = os.environ.get("XDG_CACHE_HOME")
    return Path(root or Path.home() / ".cache") / "napari-msdip"


def load_vgg16(
    path: str | os.PathLike[str] | None = None,
    *,
    download: bool = True,
    fetch: Callable[[Path], None] | None = None,
) -> Weights:
    """Find VGG-16 weights: a given file, our cache, torch's hub cache, a download.

    Only the layers up to conv3_3 are kept in our cache, 7 MB of the 528.

    Parameters
    ----------
    path : path-like or None
        A ``.npz`` with ``conv1_1.weight`` … in the original (BGR, 0-255)
        convention, or a state dict of torchvision's ``vgg16`` (``.pth``).
    download : bool
        Whether to download if nothing is found on disk.
    fetch : callable or None
        Writes torchvision's state dict to the path it is given; torchvision's
        own address, with progress and hash check, if None.

    Returns
    -------
    mapping of str to ndarray
        What :class:`Vgg16Features` takes.

    Raises
    ------
    WeightsNotFoundError
        If there are none; the message says what to do.
    ValueError
        If the file at ``path`` holds something else.
    """
    if path is not None:
        check_weight_file(path)
        return _read(Path(path), "vgg_weights=")
    cached = _cached_file()
    # Not Path.is_file, which fails for a folder that must not be looked into.
    if os.path.isfile(cached):
        # Nobody chose this file: where it is broken another takes its place.
        with suppress(ValueError):
            return _read(cached)
    hub = _hub_file()
    if os.path.isfile(hub):
        return _kept(_read_of_torch(hub), cached)
    if not download:
        raise WeightsNotFoundError(
            f"There are no VGG-16 weights on this machine. {_advice()}"
        )
    return _kept(_downloaded(fetch or _fetch_from_torchvision), cached)


def check_weight_file(path: str | os.PathLike[str]) -> None:
    """Raise unless there is a file of that name, whatever it holds.

    Raises
    ------
    WeightsNotFoundError
        If there is none.
    """
    if not os.path.isfile(path):
        raise WeightsNotFoundError(
            f"vgg_weights={os.fspath(path)!r}: there is no such file. {_advice()}"
        )


def weights_info() -> str:
    """Say for a person which VGG-16 weights there are; no file makes it fail."""
    unreadable = []
    for path in (_cached_file(), _hub_file()):
        if os.path.isfile(path):
            try:
                _read(path)
            except ValueError:
                unreadable.append(f"unreadable: {path}")
            else:
                return "; ".join([f"found: {path}", *unreadable])
    none = "none (only the paper preset needs them, and downloads them)"
    return "; ".join(unreadable) or none


def _cached_file() -> Path:
    return cache_directory() / _CACHED_NAME


def _advice() -> str:
    return (
        "Either use consistency='offline', which needs no weights, or put "
        f"torchvision's {_hub_file().name} into {_hub_file().parent}, or give a "
        "weight file as vgg_weights=FILE."
    )


def _hub_file() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints" / _HUB_NAME


def _torchvision_url() -> str:
    """Return where torchvision's own code says that the weights are.

    Read, not imported: torchvision.models imports triton, and that kills a process in
    which Mesa has loaded its own LLVM, as napari's often has.
    """
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        raise OSError("torchvision, which knows where they are, is not installed")
    source = Path(spec.origin).with_name("models") / "vgg.py"
    found = re.search(
        rf"https://[^\s\"']*/{re.escape(_HUB_NAME)}", source.read_text("utf-8")
    )
    if found is None:
        raise OSError(f"{source} names no {_HUB_NAME}")
    return found.group()


def _fetch_from_torchvision(target: Path) -> None:
    url = _torchvision_url()
    prefix = Path(url).stem.rpartition("-")[2]
    # A program for Windows that has a window only has nowhere to show progress.
    shown = sys.stderr is not None
    with _DOWNLOADING, _impatient():
        torch.hub.download_url_to_file(
            url, os.fspath(target), hash_prefix=prefix, progress=shown
        )


@contextmanager
def _impatient() -> Iterator[None]:
    """Let no server keep a download waiting for ever: torch.hub has no limit to set."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_SILENCE if before is None else before)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _downloaded(fetch: Callable[[Path], None]) -> Weights:
    try:
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / "vgg16.pth"
            fetch(target)
            return _read(target)
    except (OSError, RuntimeError, HTTPException) as error:
        if isinstance(error, HTTPError):
            error.close()
        raise WeightsNotFoundError(
            f"VGG-16 weights could not be downloaded ({error}). {_advice()}"
        ) from error


def _kept(weights: Weights, cached: Path) -> Weights:
    """Store the trimmed weights for the next run, whole or not at all."""
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cached.parent) as folder:
            partial = Path(folder) / cached.name
            np.savez(partial, **dict(weights))  # type: ignore[arg-type]
            partial.replace(cached)
    except OSError as error:
        # This run has what it needs; only the next one has to look again.
        warnings.warn(
            f"VGG-16 weights could not be kept in {cached.parent} ({error})", stacklevel=3
        )
    return weights


def _read_of_torch(path: Path) -> Weights:
    try:
        return _read(path)
    except ValueError as error:
        raise ValueError(f"{error}, or delete it, for a new download") from error


def _read(path: Path, argument: str = "") -> Weights:
    """Read weights; an error begins with the argument that the path was given as."""
    try:
        arrays = _read_arrays(path)
    except _UNREADABLE as error:
        raise ValueError(_not_weights(path, argument, "it cannot be read")) from error
    if f"{_OF_VGG19}.weight" in arrays:
        raise ValueError(_not_weights(path, argument, f"{_OF_VGG19} is VGG-19's"))
    shapes = _expected_shapes()
    is_ours = _CONVENTION_KEY in arrays
    if is_ours:
        shapes |= {"mean": (3,), "scale": (3,)}
    for key, shape in shapes.items():
        wrong = _wrong(arrays, key, shape)
        if wrong:
            raise ValueError(_not_weights(path, argument, wrong))
    return arrays if is_ours else _from_caffe(arrays)


def _wrong(
    arrays: Mapping[str, npt.NDArray[Any]], key: str, shape: tuple[int, ...]
) -> str | None:
    """Say what is wrong with one of the arrays, if anything."""
    if key not in arrays:
        return f"{key} is missing"
    array = arrays[key]
    if array.shape != shape:
        return f"{key} has shape {array.shape}, not {shape}"
    if array.dtype != np.float32:
        return f"{key} has dtype {array.dtype}, not float32"
    if not np.isfinite(array).all():
        return f"{key} holds NaN or infinity"
    return None


def _read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    if path.suffix == ".npz":
        with np.load(path) as stored:
            return {key: _single(stored[key]) for key in stored.files}
    return _from_state_dict(torch.load(path, map_location="cpu", weights_only=True))


def _single(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return array.astype(np.float32, copy=False) if array.dtype.kind == "f" else array


def _not_weights(path: Path, argument: str, reason: str) -> str:
    return (
        f"{argument}{os.fspath(path)!r} holds no VGG-16 weights: {reason}; give a "
        "state dict of torchvision's vgg16 or an .npz with conv1_1.weight to conv3_3.bias"
    )


def _expected_shapes() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    channels = 3
    for name, width in VGG_LAYOUT:
        if name != "pool":
            shapes[f"{name}.weight"] = (width, channels, 3, 3)
            shapes[f"{name}.bias"] = (width,)
            channels = width
    return shapes


def _from_state_dict(state: Mapping[str, Any]) -> dict[str, npt.NDArray[Any]]:
    arrays: dict[str, npt.NDArray[Any]] = {
        f"{name}.{kind}": state[f"features.{index}.{kind}"].detach().float().numpy()
        for name, index in (*_TORCHVISION_INDEX.items(), (_OF_VGG19, _OF_VGG19_INDEX))
        for kind in ("weight", "bias")
        if f"features.{index}.{kind}" in state
    }
    arrays["mean"] = np.asarray(_TORCHVISION_MEAN, np.float32)
    arrays["scale"] = 1 / np.asarray(_TORCHVISION_STD, np.float32)
    arrays[_CONVENTION_KEY] = np.array("rgb")
    return arrays


def _from_caffe(arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    """Turn the original weights (BGR, 0-255, mean subtracted) to RGB in [0, 1]."""
    converted = dict(arrays)
    converted["conv1_1.weight"] = np.ascontiguousarray(arrays["conv1_1.weight"][:, ::-1])
    converted["mean"] = np.asarray(_CAFFE_MEAN_RGB, np.float32) / 255
    converted["scale"] = np.full(3, 255, np.float32)
    return converted
