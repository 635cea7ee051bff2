"""What the command line calls the arguments that everything beneath it has names for."""

from __future__ import annotations

import re

from napari_msdip.options import declared_options

__all__ = ["flag", "in_flags"]

# Arguments that are flags here without being options.
_ARGUMENTS = ("axes", "channel_axis", "overwrite", "planes")


def flag(name: str) -> str:
    """Return the flag of an option or argument."""
    return f"--{name.replace('_', '-')}"


def in_flags(text: str) -> str:
    """Return a message with every ``name=value`` in it as the flag that says the same.

    Parameters
    ----------
    text : str
        What was said in Python's terms. Of a path with such a name in it, as in
        ``/data/seed=3``, nothing is changed unless a space comes before.
    """
    names = "|".join([*_ARGUMENTS, *(option.name for option in declared_options())])
    spoken = rf"(?<![^\s(])({names})=(True\b|False\b)?"
    return re.sub(spoken, lambda found: _as_flag(found[1], found[2]), text)


def _as_flag(name: str, switch: str | None) -> str:
    if switch == "True":
        return flag(name)
    return flag(f"no_{name}") if switch else f"{flag(name)}="
