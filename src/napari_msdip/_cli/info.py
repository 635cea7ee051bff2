"""``napari-msdip info``: what a bug report should say."""

from __future__ import annotations

import platform
import sys
from importlib import metadata as packages
from typing import TYPE_CHECKING, Any

from napari_msdip._cli.engine import BROKEN, unusable
from napari_msdip._cli.exits import Exit

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from napari_msdip._cli.console import Console
    from napari_msdip._cli.engine import Engine

__all__ = ["show_info"]

_PACKAGES = (
    "napari-msdip torch torchvision numpy scikit-image tifffile imagecodecs zarr napari "
    "npe2 magicgui dask distributed"
).split()


def show_info(
    parsed: argparse.Namespace, console: Console, load: Callable[[], Engine]
) -> Exit:
    """Show versions, devices, memory and weights."""
    info: dict[str, Any] = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {name: _version(name) for name in _PACKAGES},
    }
    if "torch" not in sys.modules:
        console.note("loading PyTorch, which can take a while")
    try:
        info |= _torch_info()
    except BROKEN as error:
        info["devices"] = {"error": unusable(error)}
    _say_tree(console, info)
    console.emit(info)
    return Exit.OK


def _version(name: str) -> str | None:
    try:
        return packages.version(name)
    except packages.PackageNotFoundError:
        return None


def _torch_info() -> dict[str, Any]:
    import torch

    from napari_msdip import devices, vgg_weights

    cores = devices.cpu_count()
    found = {"cpu": "1 core" if cores == 1 else f"{cores} cores"}
    if torch.cuda.is_available():
        found["cuda"] = torch.cuda.get_device_name()
    if torch.backends.mps.is_available():
        found["mps"] = "Apple GPU"
    chosen = devices.select("auto")
    free = {name: f"{devices.available_memory(name) / 2**30:.1f} GiB" for name in found}
    return {
        "devices": found,
        "auto device": chosen,
        "auto precision": devices.select_precision("auto", chosen),
        "free memory": free,
        "VGG-16 weights": vgg_weights.weights_info(),
    }


def _say_tree(console: Console, tree: dict[str, Any], indent: str = "") -> None:
    for key, value in tree.items():
        if isinstance(value, dict):
            console.say(f"{indent}{key}:")
            _say_tree(console, value, indent + "  ")
        else:
            console.say(f"{indent}{key}: {'not installed' if value is None else value}")
