"""Numbers as a person reads them: for the command line and the dock."""

__all__ = ["duration", "memory", "size"]


def duration(seconds: float) -> str:
    """Return a duration, such as ``"1 min 20 s"``; never less than a second."""
    whole = max(round(seconds), 1)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if minutes < 10 else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def memory(n_bytes: float) -> str:
    """Return an amount of memory, such as ``"1.2 GB"``."""
    if n_bytes < 1e9:
        return f"{max(n_bytes / 1e6, 1):.0f} MB"
    return f"{n_bytes / 1e9:.1f} GB"


def size(shape: tuple[int, int]) -> str:
    """Return the size of an image, such as ``"256×256"``."""
    return f"{shape[0]}×{shape[1]}"
