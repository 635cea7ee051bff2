from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from benchmarks.__main__ import main
from benchmarks.data import Case, list_cases
from benchmarks.methods import CLASSICAL
from benchmarks.runner import plan, run

from benchmarks import results, runner
from napari_msdip.options import Options


@pytest.fixture
def case(tmp_path) -> Case:
    file = tmp_path / "flower.png"
    return Case("Set9", "flower", "gauss25", "unclipped", file, file)


def test_keys_see_the_settings_and_not_where_the_data_lies(case, tmp_path):
    def key(case=case, method="fast", **settings):
        (job,) = plan([case], [method], **settings)
        return job.key

    keys = {
        key(),
        key(method="fast+iterations=7"),
        key(method="noisy"),
        key(method="nlm"),
        key(seeds=[3]),
        key(crop=64),
        key(threads=2),
        key(trace=True),
        key(tag="new"),
        key(case=dataclasses.replace(case, protocol="clipped")),
        key(case=dataclasses.replace(case, noise="gauss10")),
    }
    assert len(keys) == 11
    moved = dataclasses.replace(case, clean=tmp_path / "elsewhere" / "flower.png")
    assert key(case=moved) == key()


def test_preset_and_the_same_options_spelled_out_are_rows_of_their_own(case):
    spelled = f"fast+iterations={Options.preset('fast').iterations}"
    plain, same = plan([case], ["fast", spelled])
    assert plain.method.settings == same.method.settings
    assert plain.key != same.key


def test_only_methods_with_chance_run_for_each_seed(case):
    jobs = plan([case], ["noisy", "fast"], seeds=[0, 1])
    assert [(job.method.name, job.seed) for job in jobs] == [
        ("noisy", 0),
        ("fast", 0),
        ("fast", 1),
    ]


@pytest.mark.parametrize("name", CLASSICAL)
def test_methods_without_chance_have_one_row_whatever_seeds_and_trace_say(case, name):
    (usual,) = plan([case], [name])
    (job,) = plan([case], [name], seeds=[3, 4], trace=True)
    assert (job.seed, job.trace) == (0, False)
    assert job.key == usual.key


@pytest.mark.parametrize("trace", [True, False])
def test_rows_say_whether_they_were_traced(case, trace):
    noisy, fast = plan([case], ["noisy", "fast"], trace=trace)
    assert (noisy.columns()["trace"], fast.columns()["trace"]) == (
        "no",
        "yes" if trace else "no",
    )


def test_the_true_level_is_not_asked_for_where_nobody_knows_it(case):
    real = dataclasses.replace(case, noise="real")
    assert plan([real], ["bm3d:true"]) == []
    assert len(plan([case], ["bm3d:true"])) == 1


def test_a_second_run_measures_only_what_is_missing(data, tmp_path):
    table = tmp_path / "rows.csv"
    cases = list_cases(data, ["Set9"])
    lines: list[str] = []
    assert run(plan(cases, ["noisy"]), table, say=lines.append) == 0
    first = table.read_text()
    assert run(plan(cases, ["noisy"]), table, say=lines.append) == 0
    assert table.read_text() == first
    assert lines[-1] == "1 of 1 rows are there, 0 to go"
    (row,) = results.read(table)
    assert float(row["gain"]) == 0
    assert float(row["psnr"]) == pytest.approx(20.2, abs=0.5)
    assert 5 < float(row["peak_mb"])


def test_peak_memory_is_not_the_parents(data, tmp_path):
    ballast = np.ones(150 * 2**20, np.uint8)
    table = tmp_path / "rows.csv"
    run(plan(list_cases(data, ["Set9"]), ["noisy"]), table, say=lambda line: None)
    (row,) = results.read(table)
    assert float(row["peak_mb"]) < ballast.nbytes / 2**20


def test_a_failed_job_leaves_no_row_and_is_said(case, tmp_path):
    table = tmp_path / "rows.csv"
    lines: list[str] = []
    assert run(plan([case], ["noisy"]), table, say=lines.append) == 1
    assert results.read(table) == []
    assert "FileNotFoundError" in lines[-1]


def test_a_row_is_there_only_once_its_trace_is(case, tmp_path, monkeypatch):
    row = dict.fromkeys(("psnr", "gain", "seconds", "peak_mb"), 1.0)
    measured = {"row": row, "trace": [{"psnr": 1.0}]}
    monkeypatch.setattr(runner, "_in_process", lambda job: (measured, ""))
    table, (job,) = tmp_path / "rows.csv", plan([case], ["fast"], trace=True)
    trace = tmp_path / "traces" / f"{job.key}.json"

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(runner, "_keep_trace", killed)
        run([job], table, say=lambda line: None)
    assert results.read(table) == []
    assert run([job], table, say=lambda line: None) == 0
    assert len(results.read(table)) == 1
    assert json.loads(trace.read_text())["points"] == measured["trace"]


def test_command_line_lists_and_refuses(data, capsys):
    chosen = ["--data", str(data), "--sets", "FMD", "--images", "*_1"]
    assert main(["list", *chosen, "--methods", "noisy", "fast", "--seeds", "0", "1"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
    with pytest.raises(SystemExit) as refused:
        main(["list", *chosen, "--methods", "magic"])
    assert refused.value.code == 2
    assert "magic" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["list", "run"])
@pytest.mark.parametrize("side", ["10", "0", "-64", "half"])
def test_crops_without_ssim_are_refused_at_once(data, capsys, command, side):
    with pytest.raises(SystemExit) as refused:
        main([command, "--data", str(data), f"--crop={side}"])
    assert refused.value.code == 2
    assert f"--crop: {side!r}: give a whole number" in capsys.readouterr().err
