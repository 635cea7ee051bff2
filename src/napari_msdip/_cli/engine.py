"""What the commands ask of the engine: the seam at which tests put a fake one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_msdip._cli.exits import UsageError, message

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from napari_msdip.events import Progress, Result, StackResult
    from napari_msdip.options import Options

__all__ = ["BROKEN", "Engine", "load_engine", "loaded", "ready", "unusable"]

BROKEN = (ImportError, OSError, RuntimeError, ValueError)
"""What is raised on import by a package that is missing, damaged or of a wrong version."""


@dataclass(frozen=True)
class Engine:
    """The part of the program that takes seconds to import.

    Attributes
    ----------
    check : callable
        Given Options, raises if this machine cannot fulfil them.
    iter_denoise, denoise_stack, estimate_sigma, assess : callable
        As in :mod:`napari_msdip`.
    noise_level : callable
        As in :mod:`napari_msdip.measured`.
    """

    check: Callable[[Options], None]
    iter_denoise: Callable[..., Generator[Progress, None, Result]]
    denoise_stack: Callable[..., StackResult]
    estimate_sigma: Callable[..., float]
    assess: Callable[..., Any]
    noise_level: Callable[..., float]


def load_engine() -> Engine:
    """Import torch and everything that needs it."""
    from napari_msdip.image import iter_denoise
    from napari_msdip.measured import noise_level
    from napari_msdip.noise import estimate_sigma
    from napari_msdip.quality import assess
    from napari_msdip.stack import denoise_stack

    return Engine(
        check=_check,
        iter_denoise=iter_denoise,
        denoise_stack=denoise_stack,
        estimate_sigma=estimate_sigma,
        assess=assess,
        noise_level=noise_level,
    )


def _check(options: Options) -> None:
    from napari_msdip import devices
    from napari_msdip.plan import check_options
    from napari_msdip.vgg_weights import load_vgg16

    devices.select(options.device)
    check_options(options)
    if options.consistency == "vgg16":
        load_vgg16(options.vgg_weights)


def loaded(load: Callable[[], Engine]) -> Engine:
    """Load the engine, or refuse because this installation cannot.

    Raises
    ------
    UsageError
        If a package that it needs is missing or broken.
    """
    try:
        return load()
    except BROKEN as error:
        raise UsageError(unusable(error)) from error


def unusable(error: Exception) -> str:
    """Say that an installation is broken, and what helps."""
    reason = " ".join(str(error).split())
    return (
        f"PyTorch, or a package beside it, cannot be used ({type(error).__name__}: "
        f"{reason}); install it anew in this environment, with pip install "
        "--force-reinstall torch torchvision"
    )


def ready(load: Callable[[], Engine], options: Options) -> Engine:
    """Load the engine and make sure that it can do what the options ask."""
    engine = loaded(load)
    try:
        engine.check(options)
    except (OSError, RuntimeError, ValueError) as error:
        raise UsageError(message(error)) from error
    return engine
