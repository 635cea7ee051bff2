"""What the command line calls the arguments that everything beneath it has names for."""

from __future__ import annotations

import re

from napari_msdip.options import declared_options

__all__ = ["flag", "in_flags"]

# Arguments that are flags here without being options.
_ARGUMENTS = ("axes", "channel_axis", "image", "overwrite", "planes")

# What helps in Python, and what a person without it can do.
_ADVICE = {
    "for example with numpy.nan_to_num": (
        "in Fiji for example with Process > Noise > Remove NaNs"
    )
}

# Arguments that are called otherwise here, where a message begins with them.
_OTHERWISE = {"client": "scheduler", "out": "output"}

_VALUE = (
    "True|False|None|FILE"
    r"|-?(?:\d[\d.e+-]*|nan|inf)"
    r"|'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\""
    r"|\[[^\]]*\]|\([^)]*\)"
)


def flag(name: str) -> str:
    """Return the flag of an option or argument."""
    return f"--{name.replace('_', '-')}"


def in_flags(text: str) -> str:
    """Return a message with every ``name=value`` in it as the flag that says the same.

    What it advises to do in Python becomes what can be done without.

    Parameters
    ----------
    text : str
        What was said in Python's terms. A path that looks like that, as in
        ``seed=3/cells.tif``, stays as it is.
    """
    for in_python, elsewhere in _ADVICE.items():
        text = text.replace(in_python, elsewhere)
    leading = "|".join(_OTHERWISE)
    text = re.sub(rf"\A({leading})(?=: )", lambda found: flag(_OTHERWISE[found[1]]), text)
    names = "|".join([*_ARGUMENTS, *(option.name for option in declared_options())])
    spoken = rf"(?<![^\s(])({names})=({_VALUE})(?=[,;:.)]*(?:\s|\Z))"
    return re.sub(spoken, lambda found: _as_flag(found[1], found[2]), text)


def _as_flag(name: str, value: str) -> str:
    """Return a flag as it is typed, in any shell."""
    if value in ("True", "False"):
        return flag(name if value == "True" else f"no_{name}")
    if value == "None":
        if name == "planes":
            return "all planes"
        return f"{flag(name)}={'none' if name == 'channel_axis' else 'auto'}"
    if value[0] in "'\"":
        plain = value[1:-1].replace("\\\\", "\\")
        value = plain if [plain] == plain.split() else f'"{plain}"'
    elif value[0] in "([":
        value = value.strip("([,])").replace(" ", "")
    return f"{flag(name)}={value}"
