"""How far to trust a result, in words: for the command line, the demo and the dock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["in_words", "judged"]


def judged(
    assess: Callable[..., Any],
    noisy: Any,
    denoised: Any,
    *,
    channel_axis: int | None,
    hot_pixels_removed: bool,
    on_error: Callable[[Exception], object] = lambda error: None,
) -> dict[str, str]:
    """Return what the assessment of a result came to, as plain JSON types.

    Where that fails, in want of memory for instance, ``on_error`` is told why, and the
    judgement says so: it must not cost the result.
    """
    try:
        report = assess(
            noisy,
            denoised,
            channel_axis=channel_axis,
            hot_pixels_removed=hot_pixels_removed,
        )
    except Exception as error:
        on_error(error)
        reason = f"It could not be judged ({type(error).__name__}: {error})."
        return {"verdict": "undecided", "reason": reason}
    return {"verdict": str(report.verdict.value), "reason": report.reason}


def in_words(judgement: dict[str, Any]) -> str:
    """Say a judgement to a person."""
    words = judgement["verdict"].replace("_", " ").replace("-", " ")
    return f"{words}: {judgement['reason']}"
