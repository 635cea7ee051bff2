"""The options as flags: every flag built from the one declaration of Options."""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

from napari_msdip._cli.exits import UsageError, message
from napari_msdip._cli.words import flag
from napari_msdip.options import PRESETS, Option, Options, declared_options

__all__ = ["add_flags", "options_from"]


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Give a parser a flag for every declared option."""
    parser.add_argument(
        "--preset",
        choices=PRESETS,
        default=PRESETS[0],
        help="what the options below start from (default: %(default)s)",
    )
    groups: dict[str, Any] = {}
    for option in declared_options():
        heading = option.setting.group
        if heading not in groups:
            groups[heading] = parser.add_argument_group(f"{heading} options")
        _add_flag(groups[heading], option)


def _add_flag(group: Any, option: Option) -> None:
    shown = _spell(option, option.default)
    common: dict[str, Any] = {
        "dest": f"option_{option.name}",
        "default": argparse.SUPPRESS,
        "help": f"{option.setting.help} ({PRESETS[0]}: {shown})".replace("%", "%%"),
    }
    word = flag(option.name)
    if option.type is bool:
        group.add_argument(word, action=argparse.BooleanOptionalAction, **common)
    elif option.choices and not option.optional:
        group.add_argument(word, choices=option.choices, **common)
    else:
        name = "N[,N...]" if option.is_tuple else _METAVARS[option.type]
        group.add_argument(word, type=partial(_parse, option), metavar=name, **common)


_METAVARS = {int: "N", float: "X", str: "TEXT"}


def _spell(option: Option, value: Any) -> str:
    if value is None:
        return "auto"
    if option.type is bool:
        return "on" if value else "off"
    if option.is_tuple:
        return ",".join(f"{element:g}" for element in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _parse(option: Option, text: str) -> Any:
    if option.optional and text == "auto":
        return None
    parse = option.type
    try:
        if option.is_tuple:
            return tuple(parse(element) for element in text.split(","))
        return parse(text)
    except ValueError as error:
        kind = "whole numbers" if option.type is int else "numbers"
        raise argparse.ArgumentTypeError(f"{text!r}: give {kind}") from error


def options_from(parsed: argparse.Namespace) -> Options:
    """Return the options that the flags ask for.

    Raises
    ------
    UsageError
        If a value is out of its limits.
    """
    given = {
        option.name: getattr(parsed, f"option_{option.name}")
        for option in declared_options()
        if hasattr(parsed, f"option_{option.name}")
    }
    try:
        return Options.preset(parsed.preset).replace(**given)
    except (TypeError, ValueError) as error:
        raise UsageError(message(error)) from error
