"""``python -m benchmarks run|report|list``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import report, results, runner
from benchmarks.data import (
    DATA_VARIABLE,
    NOISES,
    SETS,
    SYNTHETIC_PROTOCOLS,
    data_root,
    list_cases,
)
from benchmarks.methods import ABLATIONS, CLASSICAL, ENGINES, expand
from benchmarks.metrics import SSIM_SIDE

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_TABLE = Path(__file__).parent / "results" / "results.csv"
DEFAULT_METHODS = ("noisy", "bm3d:skimage", "bm3d:ours", "nlm", "wavelet", "fast")
DEFAULT_BASELINES = ("bm3d:skimage", "bm3d:oracle", "bm3d:true", "dip", "paper")

METHOD_HELP = (
    f"{', '.join(CLASSICAL)}; or {', '.join(ENGINES)}, each also with +option=value "
    f"or an ablation: +{', +'.join(ABLATIONS)}; fast+* means fast and all that change it"
)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Side-by-side quality and speed."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="measure what the table lacks")
    _add_selection(run)
    run.add_argument("--jobs", type=int, default=1, help="processes at a time")
    show = commands.add_parser("list", help="say what a run would measure")
    _add_selection(show)
    tell = commands.add_parser("report", help="tables and plots from the rows")
    _add_table(tell)
    tell.add_argument("--out", type=Path, help="folder; default: beside the table")
    tell.add_argument("--baselines", nargs="*", default=DEFAULT_BASELINES)
    tell.add_argument("--tag", help="only rows with this tag")
    return parser


def _add_table(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--results", type=Path, default=DEFAULT_TABLE, help="CSV table of rows"
    )


def _add_selection(parser: argparse.ArgumentParser) -> None:
    _add_table(parser)
    add = parser.add_argument
    add("--data", help=f"data folder; else ${DATA_VARIABLE}, else ../shared/data")
    add("--methods", nargs="+", default=DEFAULT_METHODS, metavar="M", help=METHOD_HELP)
    add("--sets", nargs="+", default=tuple(SETS), choices=tuple(SETS))
    add("--images", nargs="+", default=(), metavar="GLOB", help="image names to keep")
    add("--noise", nargs="+", default=("gauss25",), choices=tuple(NOISES))
    add(
        "--protocol",
        nargs="+",
        default=("unclipped",),
        choices=SYNTHETIC_PROTOCOLS,
        help="whether synthetic noise is clipped to 0..255",
    )
    add("--seeds", nargs="+", type=int, default=(0,))
    add("--crop", type=_side, help="side of the central square; default: whole images")
    add("--threads", type=int, default=1, help="CPU threads of each process")
    add("--trace", action="store_true", help="follow PSNR along the run")
    add("--tag", default="", help="label that keeps rows apart, e.g. of a code version")


def _side(text: str) -> int:
    if not text.isdecimal() or int(text) < SSIM_SIDE:
        raise argparse.ArgumentTypeError(
            f"{text!r}: give a whole number of pixels, {SSIM_SIDE} at least, as SSIM takes"
        )
    return int(text)


def _planned(arguments: argparse.Namespace) -> list[runner.Job]:
    cases = list_cases(
        data_root(arguments.data),
        arguments.sets,
        images=arguments.images,
        noises=arguments.noise,
        protocols=arguments.protocol,
    )
    return runner.plan(
        cases,
        expand(arguments.methods),
        seeds=arguments.seeds,
        crop=arguments.crop,
        threads=arguments.threads,
        trace=arguments.trace,
        tag=arguments.tag,
    )


def _write_report(arguments: argparse.Namespace) -> int:
    rows = [
        row
        for row in results.read(arguments.results)
        if arguments.tag is None or row["tag"] == arguments.tag
    ]
    if not rows:
        raise ValueError(f"results={str(arguments.results)!r}: no rows to report")
    folder = arguments.out or arguments.results.parent
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / f"{arguments.results.stem}.md"
    page.write_text(report.markdown(rows, baselines=arguments.baselines))
    _say(str(page))
    for path in report.plot(rows, folder / "plots"):
        _say(str(path))
    return 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    try:
        if arguments.command == "report":
            return _write_report(arguments)
        jobs = _planned(arguments)
        if arguments.command == "list":
            for job in jobs:
                _say(f"{job.key} {job}")
            return 0
        return int(
            runner.run(jobs, arguments.results, processes=arguments.jobs, say=_say) > 0
        )
    except (ValueError, FileNotFoundError) as error:
        parser.exit(2, f"{error}\n")


if __name__ == "__main__":
    sys.exit(main())
