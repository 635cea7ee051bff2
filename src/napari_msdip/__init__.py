"""Multi-scale deep image prior: denoise a microscopy image with nothing but itself."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_msdip._version import __version__
    from napari_msdip.events import (
        Progress,
        Result,
        ScaleResult,
        StackResult,
        Status,
        StopReason,
    )
    from napari_msdip.fusion import ensemble, joint_bilateral_upsample
    from napari_msdip.image import denoise, iter_denoise
    from napari_msdip.noise import estimate_sigma
    from napari_msdip.options import PRESETS, Options
    from napari_msdip.plan import Plan, resolve
    from napari_msdip.quality import QualityReport, Verdict, assess
    from napari_msdip.stack import denoise_stack

_HOMES = {
    "_version": ("__version__",),
    "image": ("denoise", "iter_denoise"),
    "fusion": ("ensemble", "joint_bilateral_upsample"),
    "events": ("Progress", "Result", "ScaleResult", "StackResult", "Status", "StopReason"),
    "noise": ("estimate_sigma",),
    "options": ("PRESETS", "Options"),
    "plan": ("Plan", "resolve"),
    "quality": ("QualityReport", "Verdict", "assess"),
    "stack": ("denoise_stack",),
}

__all__ = [
    "PRESETS",
    "Options",
    "Plan",
    "Progress",
    "QualityReport",
    "Result",
    "ScaleResult",
    "StackResult",
    "Status",
    "StopReason",
    "Verdict",
    "__version__",
    "assess",
    "denoise",
    "denoise_stack",
    "ensemble",
    "estimate_sigma",
    "iter_denoise",
    "joint_bilateral_upsample",
    "resolve",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for, so that the import is instant."""
    for module, names in _HOMES.items():
        if name in names:
            value = getattr(import_module(f"{__name__}.{module}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return sorted(__all__)
