"""From rows to tables and plots."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import cycle
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["compare", "markdown", "plot", "summarise"]

Row = Mapping[str, str]
Group = tuple[str, str, str, str]
Images = Mapping[str, Sequence[Row]]
RowPair = tuple[Sequence[Row], Sequence[Row]]

SECONDS_FLOOR = 1e-2
# One more than there are colours, lest the eleventh method look like the first.
MARKERS = "osD^vP*X<>h"
TICK_DIGITS = ((1,), (1, 3), (1, 2, 5))
LEAST_TICKS = 4
WORST = ("bias_worst", "bias_channel", "bias_shift")
# A trace takes these for itself.
COSTS = ("seconds", "cpu_seconds", "peak_mb", "run_mb", "scale_seconds")


def _group(row: Row) -> Group:
    return row["set"], row["noise"], row["protocol"], row["crop"]


def _labelling(rows: Sequence[Row]) -> Callable[[Row], str]:
    """Return what names a row: its method, tag and threads, where a table has several."""
    tagged, threaded = (len({row[name] for row in rows}) > 1 for name in ("tag", "threads"))

    def label(row: Row) -> str:
        tag = f" [{row['tag']}]" if tagged and row["tag"] else ""
        return row["method"] + tag + (_threads(row) if threaded else "")

    return label


def _threads(row: Row) -> str:
    return f" ({row['threads']} thread{'' if row['threads'] == '1' else 's'})"


def _called(rows: Sequence[Row], name: str) -> list[str]:
    """Return the labels that are this name, or of the method of this name."""
    label = _labelling(rows)
    return sorted({label(row) for row in rows if name in (label(row), row["method"])})


def _numbers(rows: Sequence[Row], column: str) -> list[float]:
    values = [float(row[column]) for row in rows if row[column] != ""]
    return [value for value in values if not math.isnan(value)]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _sorted_in(rows: Sequence[Row]) -> dict[Group, dict[str, Images]]:
    """Sort rows into ``{group: {label: {image: rows}}}``."""
    label = _labelling(rows)
    found: dict[Group, dict[str, dict[str, list[Row]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(list))
    )
    for row in _each_run_once(rows, label):
        found[_group(row)][label(row)][row["image"]].append(row)
    return {group: dict(methods) for group, methods in sorted(found.items())}


def _each_run_once(rows: Sequence[Row], label: Callable[[Row], str]) -> list[Row]:
    """Make one row of a run with a trace and the same run without, whose image is the same.

    It costs what it did without; where it was never run so, nobody knows.
    """
    found: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in rows:
        found[(*_group(row), label(row), row["image"], row["seed"])].append(row)
    return [_merged(runs) for runs in found.values()]


def _merged(runs: Sequence[Row]) -> Row:
    merged: dict[str, str] = {}
    for row in sorted(runs, key=_is_plain):
        own = row if _is_plain(row) else {**row, **dict.fromkeys(COSTS, "")}
        merged |= {name: text for name, text in own.items() if text or name not in merged}
    return merged


def _is_plain(row: Row) -> bool:
    return row["trace"] != "yes"


def _mean_of_images(
    images: Images, numbers: Callable[[Sequence[Row]], Sequence[float]]
) -> float:
    """Average each image's numbers, then the images that have any."""
    found = [values for rows in images.values() if (values := numbers(rows))]
    return _mean([_mean(values) for values in found])


def _listed(rows: Sequence[Row], column: str) -> list[float]:
    """Numbers of a column that holds one a scale, finest first."""
    texts = [text for row in rows for text in row[column].split()]
    return [value for value in map(float, texts) if not math.isnan(value)]


def summarise(rows: Sequence[Row]) -> dict[Group, dict[str, dict[str, float]]]:
    """Average each method over the seeds of each image, then over the images of each set.

    Returns
    -------
    dict
        ``{(set, noise, protocol, crop): {label: {column: value}}}``; ``images``
        counts images, ``worst_gain`` and ``bias_worst`` are the worst of all,
        ``stop_loss`` and ``worst_stop_loss`` go over all scales.
    """
    return {
        group: {label: _summary(images) for label, images in methods.items()}
        for group, methods in _sorted_in(rows).items()
    }


def _summary(images: Images) -> dict[str, float]:
    means = (
        "psnr",
        "gain",
        "affine_psnr",
        "ssim",
        "seconds",
        "cpu_seconds",
        "peak_mb",
        "bias_mean",
    )
    rows = [row for runs in images.values() for row in runs]
    losses = partial(_listed, column="stop_losses")
    return {
        "images": len(images),
        "runs": len(rows),
        **{name: _mean_of_images(images, partial(_numbers, column=name)) for name in means},
        "worst_gain": min(_numbers(rows, "gain"), default=math.nan),
        **{column: max(_numbers(rows, column), default=math.nan) for column in WORST},
        "iterations": _mean_of_images(images, _iterations),
        "stop_loss": _mean_of_images(images, losses),
        "worst_stop_loss": max(losses(rows), default=math.nan),
    }


def _iterations(rows: Sequence[Row]) -> list[int]:
    """Return each run's iterations, all scales together."""
    return [sum(map(int, row["iterations"].split())) for row in rows if row["iterations"]]


def compare(rows: Sequence[Row], baseline: str) -> dict[Group, dict[str, dict[str, float]]]:
    """Compare each method with one of them on the images that both have.

    Parameters
    ----------
    rows : sequence of mapping
        The table.
    baseline : str
        Label of the one, as :func:`summarise` gives it.

    Returns
    -------
    dict
        ``{group: {label: {"images", "mean", "worst", "speed"}}}``: difference of
        PSNR in dB, method minus baseline, and by what factor it is quicker: in
        processor time where both have one thread, else by the clock.
    """
    left_out = {baseline, *_called(rows, "noisy")}
    return {
        group: {
            label: _paired(images, methods[baseline])
            for label, images in methods.items()
            if label not in left_out and set(images) & set(methods[baseline])
        }
        for group, methods in _sorted_in(rows).items()
        if baseline in methods
    }


def _paired(images: Images, baseline: Images) -> dict[str, float]:
    common = sorted(set(images) & set(baseline))
    pairs = [(images[image], baseline[image]) for image in common]
    differences = [ours - theirs for ours, theirs in _means(pairs, "psnr")]
    return {
        "images": len(common),
        "mean": _mean(differences),
        "worst": min(differences),
        "speed": _speed(pairs),
    }


def _means(pairs: Sequence[RowPair], column: str) -> list[tuple[float, float]]:
    """Average each image's rows, for the images of which both methods have any."""
    found = [tuple(_numbers(rows, column) for rows in pair) for pair in pairs]
    return [(_mean(ours), _mean(theirs)) for ours, theirs in found if ours and theirs]


def _speed(pairs: Sequence[RowPair]) -> float:
    """Return how many times quicker the first of each pair is.

    In processor time, which a busy machine distorts less, unless several threads add
    theirs up.
    """
    threads = {row["threads"] for pair in pairs for rows in pair for row in rows}
    times = _means(pairs, "cpu_seconds" if threads == {"1"} else "seconds")
    ours, theirs = (sum(pair[n] for pair in times) for n in (0, 1))
    return theirs / ours if ours else math.nan


Column = tuple[str, str, Callable[[float], str]]


def _fixed(digits: int, scale: float = 1, sign: str = "") -> Callable[[float], str]:
    def text(value: float) -> str:
        return "" if math.isnan(value) else f"{value * scale:{sign}.{digits}f}"

    return text


SUMMARY_COLUMNS: tuple[Column, ...] = (
    ("images", "images", _fixed(0)),
    ("runs", "runs", _fixed(0)),
    ("PSNR", "psnr", _fixed(2)),
    ("gain", "gain", _fixed(2, sign="+")),
    ("worst gain", "worst_gain", _fixed(2, sign="+")),
    ("affine PSNR", "affine_psnr", _fixed(2)),
    ("SSIM", "ssim", _fixed(3)),
    ("s", "seconds", _fixed(1)),
    ("CPU s", "cpu_seconds", _fixed(1)),
    ("peak MB", "peak_mb", _fixed(0)),
    ("iterations", "iterations", _fixed(0)),
    ("block bias %, mean", "bias_mean", _fixed(2, 100)),
    ("worst", "bias_worst", _fixed(1, 100)),
    ("worst channel", "bias_channel", _fixed(1, 100)),
    ("worst shift", "bias_shift", _fixed(2)),
    ("stop loss dB, mean", "stop_loss", _fixed(2)),
    ("worst", "worst_stop_loss", _fixed(2)),
)

COMPARE_COLUMNS: tuple[Column, ...] = (
    ("images", "images", _fixed(0)),
    ("dB, mean", "mean", _fixed(2, sign="+")),
    ("dB, worst", "worst", _fixed(2, sign="+")),
    ("times quicker", "speed", _fixed(1)),
)


def markdown(rows: Sequence[Row], *, baselines: Sequence[str] = ()) -> str:
    """Write the tables: one a set, then one a set and baseline.

    A baseline is a label or a method; a method that has several labels, be it for
    several versions or numbers of threads, is compared with under each.
    """
    parts = ["# Benchmark", *_provenance(rows)]
    for group, methods in summarise(rows).items():
        parts += [f"## {_title(group)}", _table(methods, SUMMARY_COLUMNS)]
    for label in dict.fromkeys(each for name in baselines for each in _called(rows, name)):
        for group, methods in compare(rows, label).items():
            if methods:
                parts += [
                    f"## Against {label}: {_title(group)}",
                    _table(methods, COMPARE_COLUMNS),
                ]
    absent = [name for name in baselines if not _called(rows, name)]
    if absent:
        parts.append(
            f"Not compared with {', '.join(absent)}: the table has no rows of that name."
        )
    return "\n\n".join(parts) + "\n"


def _provenance(rows: Sequence[Row]) -> list[str]:
    commits = sorted({row["commit"] for row in rows})
    threads = sorted({row["threads"] for row in rows})
    tag, *others = {row["tag"] for row in rows}
    tagged = f" tagged {tag}" if tag and not others else ""
    return [
        f"{len(rows)} runs{tagged} of {', '.join(commits)} on {', '.join(threads)} "
        "thread(s). "
        "PSNR over 255 for 8-bit files, over the clean image's range for 16-bit ones; "
        "gains are over the noisy image; block bias compares the means of 64×64 blocks "
        "with the noisy image's: relative for whole blocks and channel by channel, and "
        "the largest shift of a channel in image units. Times are those of runs without "
        "a trace; how many times quicker is told by processor time where both methods "
        "have one thread, else by the clock."
    ]


def _title(group: Group) -> str:
    name, noise, protocol, crop = group
    size = "whole images" if crop == "full" else f"centre {crop}×{crop}"
    return f"{name}, {noise} noise, {protocol}, {size}"


def _table(methods: Mapping[str, Mapping[str, float]], columns: Sequence[Column]) -> str:
    lines = [
        "| method | " + " | ".join(title for title, _, _ in columns) + " |",
        "| --- |" + " ---: |" * len(columns),
    ]
    lines += [
        f"| {name} | "
        + " | ".join(text(values[column]) for _, column, text in columns)
        + " |"
        for name, values in methods.items()
    ]
    return "\n".join(lines)


def plot(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Draw gain over the noisy image against processor time, one figure a set.

    Returns
    -------
    list of Path
        The PNG files.
    """
    import matplotlib

    matplotlib.use("agg")
    from matplotlib.figure import Figure

    folder.mkdir(parents=True, exist_ok=True)
    paths, noisy = [], _called(rows, "noisy")
    for group, methods in summarise(rows).items():
        drawn = {
            label: values
            for label, values in methods.items()
            if label not in noisy and not math.isnan(values["cpu_seconds"])
        }
        if not drawn:
            continue
        figure = Figure(figsize=(6.4, 4.4), layout="constrained")
        _draw(figure.subplots(), group, drawn)
        path = folder / ("-".join(group) + ".png")
        figure.savefig(path, dpi=120)
        paths.append(path)
    return paths


def _draw(axes: Any, group: Group, methods: Mapping[str, Mapping[str, float]]) -> None:
    from matplotlib.ticker import NullLocator

    for label, marker in zip(methods, cycle(MARKERS)):
        seconds = max(methods[label]["cpu_seconds"], SECONDS_FLOOR)
        axes.plot(seconds, methods[label]["gain"], marker, label=label)
    # Labels beside the points would cover each other where methods are alike.
    axes.legend(fontsize=8)
    axes.set_xscale("log")
    axes.margins(x=0.25, y=0.1)
    axes.set_xticks(_round_numbers(*axes.get_xlim()))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("processor seconds per image")
    axes.set_ylabel("PSNR gain over noisy (dB)")
    axes.set_title(_title(group), fontsize=10)
    axes.grid(alpha=0.3)


def _round_numbers(low: float, high: float) -> list[float]:
    """Return numbers to label a logarithmic axis with, the roundest that are enough."""
    from matplotlib.ticker import MaxNLocator

    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    choices = [[digit * 10.0**n for n in powers for digit in each] for each in TICK_DIGITS]
    choices.append(list(MaxNLocator(5).tick_values(low, high)))
    within = [[tick for tick in ticks if low <= tick <= high] for ticks in choices]
    return next((ticks for ticks in within if len(ticks) >= LEAST_TICKS), within[-1])
