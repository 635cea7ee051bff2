"""How far to trust a result, in words: for the command line, the demo and the dock."""

from __future__ import annotations

from typing import Any

__all__ = ["in_words", "judgement", "undecided"]


def judgement(quality: Any) -> dict[str, str]:
    """Return what the assessment of a result came to, as plain JSON types."""
    return {"verdict": str(quality.verdict.value), "reason": quality.reason}


def undecided(error: Exception) -> dict[str, str]:
    """Return what stands for a judgement that failed, which must not cost the result."""
    reason = f"It could not be judged ({type(error).__name__}: {error})."
    return {"verdict": "undecided", "reason": reason}


def in_words(judged: dict[str, Any]) -> str:
    """Say a judgement to a person."""
    words = judged["verdict"].replace("_", " ").replace("-", " ")
    return f"{words}: {judged['reason']}"
