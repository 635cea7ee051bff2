"""The program behind the entry point: words to commands, errors to exit codes.

Exit codes: 0 all done; 1 some files failed, the others are done; 2 the command
cannot be carried out as given, nothing was begun; 130 cancelled, what was done
is kept.
"""

from __future__ import annotations

import argparse
import logging
import sys
import traceback
import warnings
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from napari_msdip._cli.commands import (
    Engine,
    Exit,
    UsageError,
    denoise_files,
    load_engine,
    measure_noise,
    show_info,
)
from napari_msdip._cli.console import Console
from napari_msdip._cli.demo import run_demo
from napari_msdip.io import FileError
from napari_msdip.options import PRESETS, Option, Options, declared_options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["build_parser", "options_from", "run"]

_EPILOG = """\
exit codes: 0 all done; 1 some files failed, the others are done; 2 nothing was
begun, because the command cannot be carried out as given; 130 cancelled, and what
was done is kept
"""


def run(arguments: Sequence[str] | None, load: Callable[[], Engine] | None) -> int:
    """Run the command line; see :func:`napari_msdip.cli.main`."""
    words = sys.argv[1:] if arguments is None else arguments
    try:
        parsed = build_parser().parse_args(words)
    except UsageError as error:
        console = Console(sys.stdout, sys.stderr, as_json="--json" in words)
        return _refuse(console, error)
    console = Console(
        sys.stdout, sys.stderr, as_json=parsed.json, progress=_wanted(parsed.progress)
    )
    with warnings.catch_warnings(), _listening_to_tifffile(console):
        warnings.showwarning = partial(_show_warning, console)
        try:
            code = int(parsed.run(parsed, console, load or load_engine))
            return code or (Exit.FAILED if console.lost else Exit.OK)
        except (UsageError, FileError) as error:
            if parsed.debug:
                traceback.print_exc()
            return _refuse(console, error)
        except KeyboardInterrupt:
            console.error("aborted")
            return Exit.CANCELLED


def _refuse(console: Console, error: Exception) -> Exit:
    """Say why nothing is begun, to people and machines."""
    console.error(str(error))
    code = Exit.USAGE
    console.emit({"exit_code": int(code), "error": str(error), "files": []})
    return code


def _wanted(progress: str) -> bool | None:
    return {"auto": None, "always": True, "never": False}[progress]


def _show_warning(console: Console, message: Warning | str, *rest: Any) -> None:
    console.note(str(message))


class _Notes(logging.Handler):
    """Says what is logged as a note."""

    def __init__(self, console: Console) -> None:
        super().__init__(logging.WARNING)
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Say it."""
        self._console.note(record.getMessage())


@contextmanager
def _listening_to_tifffile(console: Console) -> Iterator[None]:
    """Say what tifffile logs, which would go across the progress bar otherwise."""
    logger, notes = logging.getLogger("tifffile"), _Notes(console)
    logger.addHandler(notes)
    try:
        yield
    finally:
        logger.removeHandler(notes)


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are refusals like any other."""

    def error(self, message: str) -> NoReturn:
        """Refuse with the message and where to find help."""
        raise UsageError(f"{message} (see {self.prog} --help)")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = _Parser(
        prog="napari-msdip",
        description="Remove noise from images with nothing but the image itself "
        "(multi-scale deep image prior).",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_denoise(commands)
    _add_noise(commands)
    _add_demo(commands)
    _add_info(commands)
    return parser


def _version() -> str:
    from napari_msdip._version import __version__

    return f"napari-msdip {__version__}"


def _add_denoise(commands: Any) -> None:
    parser = commands.add_parser(
        "denoise",
        help="denoise images, stacks and folders",
        description="Denoise images. A file with Z, T or channels is a stack and is "
        "denoised plane by plane; colours (RGB) are denoised together.",
        epilog=_EPILOG,
        usage="%(prog)s IN [IN ...] -o OUT [--preset NAME] [options]",
    )
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="IN",
        help="TIFF, PNG, JPEG, LSM or zarr; a folder; a pattern such as 'day1/*.tif'",
    )
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="OUT",
        help="a file (.tif .ome.tif .png .zarr), or a folder that gets one file for "
        "each input",
    )
    _add_selection(parser)
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on where an earlier run stopped: skip finished files and planes",
    )
    parser.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="denoise stacks on this dask.distributed cluster",
    )
    parser.add_argument(
        "--save-scales",
        action="store_true",
        help="also write the result of every scale (single images)",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace results that exist already"
    )
    _add_common(parser)
    _add_options(parser)
    parser.set_defaults(run=_run_denoise)


def _add_noise(commands: Any) -> None:
    parser = commands.add_parser(
        "noise",
        help="estimate the noise level of images",
        description="Estimate the noise level (standard deviation, in the image's own "
        "units); for a stack the median over its planes.",
        epilog=_EPILOG,
    )
    parser.add_argument("inputs", nargs="+", metavar="IN", help="as for denoise")
    _add_selection(parser)
    _add_common(parser)
    parser.set_defaults(run=measure_noise)


def _add_demo(commands: Any) -> None:
    parser = commands.add_parser(
        "demo",
        help="denoise a noisy image that comes with the program",
        description="Denoise a noisy image that comes with the program; write the "
        "result, every scale and a picture to compare, and say what was done.",
        epilog=_EPILOG,
        usage="%(prog)s [-o FOLDER] [--preset NAME] [options]",
    )
    parser.add_argument(
        "-o",
        "--output",
        default="msdip-demo",
        metavar="FOLDER",
        help="where the files go (default: %(default)s)",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace the files of an earlier demo"
    )
    _add_common(parser)
    _add_options(parser)
    parser.set_defaults(run=_run_demo)


def _add_info(commands: Any) -> None:
    parser = commands.add_parser(
        "info",
        help="show versions, devices, memory and weights",
        description="Show what a bug report should say: versions, devices, memory, and "
        "the VGG-16 weights found.",
    )
    _add_common(parser)
    parser.set_defaults(run=show_info)


def _add_selection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--planes",
        metavar="PLANES",
        help="planes of a stack, counted from 0: 7, 10:20, 0:100:10 or 3,5,8",
    )
    parser.add_argument(
        "--axes",
        metavar="LETTERS",
        help="meaning of the dimensions where a file does not tell, such as TZYX "
        "(C channel, S red-green-blue)",
    )
    parser.add_argument(
        "--channel-axis",
        metavar="AXIS",
        help="dimension whose entries are denoised together, as a letter or number; "
        "'none' for none (default: S if there is one)",
    )


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--json", action="store_true", help="write the results as JSON to standard output"
    )
    parser.add_argument(
        "--progress",
        choices=("auto", "always", "never"),
        default="auto",
        help="show progress on standard error (default: if that is a terminal)",
    )
    parser.add_argument(
        "--debug", action="store_true", help="show the traceback of an error"
    )


def _add_options(parser: argparse.ArgumentParser) -> None:
    """Turn every declared option into a flag."""
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
        _add_option(groups[heading], option)


def _add_option(group: Any, option: Option) -> None:
    shown = _spell(option, option.default)
    common: dict[str, Any] = {
        "dest": f"option_{option.name}",
        "default": argparse.SUPPRESS,
        "help": f"{option.setting.help} ({PRESETS[0]}: {shown})".replace("%", "%%"),
    }
    flag = f"--{option.name.replace('_', '-')}"
    if option.type is bool:
        group.add_argument(flag, action=argparse.BooleanOptionalAction, **common)
    elif option.choices and not option.optional:
        group.add_argument(flag, choices=option.choices, **common)
    else:
        name = "N[,N...]" if option.is_tuple else _METAVARS[option.type]
        group.add_argument(flag, type=partial(_parse, option), metavar=name, **common)


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
        raise UsageError(str(error)) from error


def _run_denoise(
    parsed: argparse.Namespace, console: Console, load: Callable[[], Engine]
) -> Exit:
    return denoise_files(parsed, options_from(parsed), console, load)


def _run_demo(
    parsed: argparse.Namespace, console: Console, load: Callable[[], Engine]
) -> Exit:
    return run_demo(parsed, options_from(parsed), console, load)
