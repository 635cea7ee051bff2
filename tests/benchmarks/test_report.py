from __future__ import annotations

import math
from itertools import pairwise

import pytest

from benchmarks import report, results


def _row(method, image, psnr, *, seed=0, **more):
    row = dict.fromkeys(results.COLUMNS, "")
    values = {
        "set": "CC15",
        "noise": "real",
        "protocol": "as-is",
        "crop": "full",
        "method": method,
        "image": image,
        "seed": seed,
        "psnr": psnr,
        "gain": psnr - 30,
        "seconds": 10,
        **more,
    }
    return row | {name: str(value) for name, value in values.items()}


GROUP = ("CC15", "real", "as-is", "full")


def test_summary_averages_runs_and_keeps_the_worst():
    rows = [
        _row("fast", "a", 32, bias_worst=0.01, stop_losses="0.1 0.3", iterations="50 100"),
        _row("fast", "b", 29, bias_worst=0.04, stop_losses="0.2 nan", iterations="70 100"),
    ]
    fast = report.summarise(rows)[GROUP]["fast"]
    assert (fast["images"], fast["psnr"], fast["worst_gain"]) == (2, 30.5, -1)
    assert (fast["bias_worst"], fast["worst_stop_loss"]) == (0.04, 0.3)
    assert fast["stop_loss"] == pytest.approx(0.2)
    assert fast["iterations"] == 160


def test_summary_averages_the_seeds_of_each_image_first():
    rows = [
        _row("fast", "a", 30, seed=0, iterations="50", stop_losses="0.1", seconds=10),
        _row("fast", "a", 32, seed=1, iterations="70", stop_losses="0.3", seconds=20),
        _row("fast", "b", 41, seed=0, iterations="100", stop_losses="0.8", seconds=25),
    ]
    fast = report.summarise(rows)[GROUP]["fast"]
    assert (fast["images"], fast["runs"]) == (2, 3)
    assert (fast["psnr"], fast["seconds"], fast["iterations"]) == (36, 20, 80)
    assert fast["stop_loss"] == pytest.approx(0.5)
    assert (fast["worst_gain"], fast["worst_stop_loss"]) == (0, 0.8)


def test_a_run_with_a_trace_and_without_counts_once_and_costs_what_it_did_without():
    plain = [_row("fast", "a", 30 + 2 * n, seed=n, seconds=10, peak_mb=900) for n in (0, 1)]
    traced = _row(
        "fast", "a", 30, trace="yes", seconds=99, peak_mb=999, stop_losses="0.1 0.3"
    )
    for rows in ([traced, *plain], [*plain, traced]):
        fast = report.summarise(rows)[GROUP]["fast"]
        assert (fast["images"], fast["runs"], fast["psnr"]) == (1, 2, 31)
        assert (fast["seconds"], fast["peak_mb"]) == (10, 900)
        assert fast["stop_loss"] == pytest.approx(0.2)


def test_what_was_run_with_a_trace_only_has_quality_but_no_time(tmp_path):
    rows = [_row("fast", "a", 33, trace="yes", cpu_seconds=99)]
    fast = report.summarise(rows)[GROUP]["fast"]
    assert fast["psnr"] == 33
    assert math.isnan(fast["seconds"]) and math.isnan(fast["cpu_seconds"])
    assert report.plot(rows, tmp_path) == []


def test_methods_stay_in_the_order_in_which_they_were_run():
    rows = [_row("paper", "a", 33, trace="yes"), _row("fast", "a", 33)]
    assert list(report.summarise(rows)[GROUP]) == ["paper", "fast"]


def test_runs_of_other_thread_counts_are_kept_apart():
    rows = [_row("fast", "a", 31, threads=1, seconds=20), _row("nlm", "a", 30, threads=1)]
    assert set(report.summarise(rows)[GROUP]) == {"fast", "nlm"}
    rows.append(_row("fast", "a", 31, threads=2, seconds=10))
    summary = report.summarise(rows)[GROUP]
    assert set(summary) == {"fast (1 thread)", "fast (2 threads)", "nlm (1 thread)"}
    assert summary["fast (2 threads)"]["seconds"] == 10
    assert "## Against nlm (1 thread): CC15" in report.markdown(rows, baselines=["nlm"])


def test_summary_leaves_blank_what_a_method_does_not_have():
    noisy = report.summarise([_row("noisy", "a", 30)])[GROUP]["noisy"]
    assert math.isnan(noisy["iterations"]) and math.isnan(noisy["stop_loss"])
    assert "nan" not in report.markdown([_row("noisy", "a", 30)])


def test_comparison_pairs_images_and_averages_seeds_first():
    rows = [
        _row("bm3d:skimage", "a", 30, seconds=100),
        _row("bm3d:skimage", "b", 31, seconds=100),
        _row("fast", "a", 33, seed=0),
        _row("fast", "a", 34, seed=1),
        _row("fast", "c", 99),
    ]
    fast = report.compare(rows, "bm3d:skimage")[GROUP]["fast"]
    assert fast["images"] == 1
    assert fast["mean"] == fast["worst"] == 3.5
    assert fast["speed"] == 10


@pytest.mark.parametrize(("threads", "speed"), [(1, 4), (2, 10)])
def test_speed_is_by_processor_time_where_there_is_one_thread(threads, speed):
    rows = [
        _row("paper", "a", 30, seconds=100, cpu_seconds=80, threads=1),
        _row("fast", "a", 33, seconds=10, cpu_seconds=20, threads=threads),
    ]
    baseline = "paper" if threads == 1 else "paper (1 thread)"
    (fast,) = report.compare(rows, baseline)[GROUP].values()
    assert fast["speed"] == speed


def test_speed_is_that_on_images_with_times_of_both():
    rows = [
        _row("paper", "a", 30, seconds=100),
        _row("paper", "b", 30, seconds=9),
        _row("fast", "a", 33, seconds=10),
        _row("fast", "b", 33, trace="yes", seconds=9),
    ]
    fast = report.compare(rows, "paper")[GROUP]["fast"]
    assert (fast["images"], fast["speed"]) == (2, 10)
    assert math.isnan(report.compare(rows[1::2], "paper")[GROUP]["fast"]["speed"])


def test_tags_keep_versions_of_the_code_apart():
    rows = [_row("fast", "a", 31, tag="old"), _row("fast", "a", 32, tag="new")]
    assert set(report.summarise(rows)[GROUP]) == {"fast [old]", "fast [new]"}


def _page_of_one_image(tags, baselines):
    methods = {"noisy": 30, "fast": 33, "bm3d:oracle": 32}
    rows = [
        _row(method, "a", psnr, tag=tag)
        for (method, psnr), tag in zip(methods.items(), tags, strict=True)
    ]
    return report.markdown(rows, baselines=baselines)


def test_a_tag_that_all_rows_share_is_in_no_label():
    page = _page_of_one_image(["new"] * 3, ["bm3d:oracle"])
    assert page.replace(" tagged new", "") == _page_of_one_image([""] * 3, ["bm3d:oracle"])
    assert "runs tagged new of" in page


@pytest.mark.parametrize("baseline", ["bm3d:oracle", "bm3d:oracle [old]"])
def test_a_baseline_is_a_label_or_a_method(baseline):
    page = _page_of_one_image(["new", "new", "old"], [baseline])
    assert "## Against bm3d:oracle [old]: CC15" in page
    assert "| fast [new] | 1 | +1.00 |" in page
    assert "| noisy [new] | 1 | -2.00 |" not in page


def test_versions_of_a_baseline_are_compared_with_one_by_one():
    rows = [_row("fast", "a", 31, tag="old"), _row("fast", "a", 33, tag="new")]
    page = report.markdown(rows, baselines=["fast"])
    assert "| fast [new] | 1 | +2.00 |" in page.split("## Against fast [old]")[1]
    assert "| fast [old] | 1 | -2.00 |" in page.split("## Against fast [new]")[1]


def test_page_has_a_table_for_each_set_and_baseline():
    rows = [_row("noisy", "a", 30), _row("fast", "a", 33), _row("bm3d:oracle", "a", 32)]
    page = report.markdown(rows, baselines=["bm3d:oracle", "dip"])
    assert "## CC15, real noise, as-is, whole images" in page
    assert "## Against bm3d:oracle: CC15" in page
    assert "Not compared with dip: the table has no rows" in page
    assert "| fast | 1 | +1.00 |" in page


def test_plots_are_written(tmp_path):
    pytest.importorskip("matplotlib")
    rows = [_row("noisy", "a", 30, cpu_seconds=0), _row("fast", "a", 33, cpu_seconds=9)]
    (path,) = report.plot(rows, tmp_path)
    assert path.read_bytes().startswith(b"\x89PNG")


def _drawn(seconds):
    figure = pytest.importorskip("matplotlib.figure").Figure()
    axes = figure.subplots()
    methods = {f"m{n}": {"cpu_seconds": s, "gain": n} for n, s in enumerate(seconds)}
    report._draw(axes, GROUP, methods)
    figure.canvas.draw()
    return axes


def test_no_two_methods_look_the_same():
    axes = _drawn(range(1, 41))
    looks = {(line.get_color(), line.get_marker()) for line in axes.lines}
    assert len(looks) == 40


@pytest.mark.parametrize(
    "seconds", [(9,), (9, 9.1), (13, 18), (4, 30), (0, 700), (0.02, 8000)]
)
def test_the_time_axis_can_be_read(seconds):
    axes = _drawn(seconds)
    low, high = axes.get_xlim()
    shown = [label for label in axes.get_xticklabels(which="both") if label.get_text()]
    labels = [label for label in shown if low <= label.get_position()[0] <= high]
    assert 3 <= len(labels) <= 9
    told = [float(label.get_text()) for label in labels]
    assert told == pytest.approx([label.get_position()[0] for label in labels])
    ends = [(box.x0, box.x1) for box in (label.get_window_extent() for label in labels)]
    assert all(one[1] < other[0] for one, other in pairwise(ends))
