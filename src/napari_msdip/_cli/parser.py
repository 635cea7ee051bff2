"""The commands, the words that each takes, and the help on them."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

from napari_msdip._cli.demo import run_demo
from napari_msdip._cli.denoise import denoise_files
from napari_msdip._cli.exits import UsageError
from napari_msdip._cli.flags import add_flags
from napari_msdip._cli.info import show_info
from napari_msdip._cli.noise import estimate_noise

__all__ = ["build_parser"]

_EPILOG = """\
exit codes: 0 all done; 1 some files failed or are done in part, the others are done;
2 nothing was begun, because the command cannot be carried out as given; 130 cancelled,
and what was done is kept
"""


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are refusals like any other."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse, and refuse what is left, which that of all commands cannot help with."""
        parsed, left = super().parse_known_args(args, namespace)
        if left:
            self.error(f"unrecognized arguments: {' '.join(left)}")
        return parsed, left

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
    add_flags(parser)
    parser.set_defaults(run=denoise_files)


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
    parser.set_defaults(run=estimate_noise)


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
    add_flags(parser)
    parser.set_defaults(run=run_demo)


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
        "--image",
        type=int,
        metavar="N",
        help="which image of a TIFF that holds several, counted from 0 (default: all as "
        "a stack if they are alike, else the first)",
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
