from __future__ import annotations

import time
from types import SimpleNamespace

import numpy as np
import pytest
from benchmarks.data import Sample
from benchmarks.methods import (
    ABLATIONS,
    CLASSICAL,
    ENGINES,
    Tracer,
    _bounded,
    _resized,
    expand,
    parse_method,
    with_threads,
)

import napari_msdip.run as engine
from napari_msdip import piece


def _sample(shape=(32, 32)) -> Sample:
    rng = np.random.default_rng(0)
    clean = np.full(shape, 100.0)
    noisy = (clean + rng.normal(0, 10, shape)).astype(np.float32)
    return Sample(noisy, clean, 255.0, 10.0, bounded=False)


@pytest.mark.parametrize("engine", ENGINES)
def test_every_ablation_of_every_engine_changes_valid_options(engine):
    plain = parse_method(engine).settings["options"]
    changed = [parse_method(f"{engine}+{name}").settings["options"] for name in ABLATIONS]
    assert any(options != plain for options in changed)
    # What an engine already is, its ablation need not change.
    for name in ("double-iterations", "fixed-lambda", "min-256"):
        assert parse_method(f"{engine}+{name}").settings["options"] != plain


def test_dip_is_one_scale_with_the_original_settings():
    options = parse_method("dip").settings["options"]
    wanted = {
        "max_scales": 1,
        "ensemble": False,
        "consistency": "none",
        "iterations": 3000,
        "learning_rate": 0.01,
        "average": 0.99,
        "code_range": 0.1,
        "perturbation": 1 / 30,
        "widths": [128] * 5,
        "l1_fraction": 0,
        "stopping": "none",
    }
    assert {name: options[name] for name in wanted} == wanted


def test_options_are_set_by_name_and_type():
    options = parse_method(
        "fast+widths=32,64+average=0.5+ensemble=off+max_scales=none+stopping=plateau"
    ).settings["options"]
    assert options["widths"] == [32, 64]
    assert (options["average"], options["ensemble"]) == (0.5, False)
    assert (options["max_scales"], options["stopping"]) == (None, "plateau")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("quick", "choose among"),
        ("fast+no-magic", "no-ensemble"),
        ("fast+magic=1", "option=value"),
        ("fast+ensemble=maybe", "on or off"),
        ("fast+iterations=many", "int"),
        ("fast+stopping=never", "choose one of"),
    ],
)
def test_wrong_specs_say_what_would_be_right(spec, said):
    with pytest.raises(ValueError, match=said):
        parse_method(spec)


@pytest.mark.parametrize("engine", ENGINES)
def test_star_stands_for_the_engine_and_all_ablations_that_change_it(engine):
    plain = parse_method(engine).settings
    changing = [
        name
        for name in (f"{engine}+{ablation}" for ablation in ABLATIONS)
        if parse_method(name).settings != plain
    ]
    assert expand(["noisy", f"{engine}+*"]) == ["noisy", engine, *changing]


def test_bm3d_with_the_true_level_suits_known_levels_only():
    assert not CLASSICAL["bm3d:true"].suits(sigma_known=False)
    assert all(method.suits(sigma_known=True) for method in CLASSICAL.values())


@pytest.mark.parametrize("shape", [(32, 32), (32, 32, 3)])
@pytest.mark.parametrize("name", ["noisy", "nlm", "wavelet"])
def test_classical_methods_return_the_shape_and_do_not_harm_a_flat_image(name, shape):
    sample = _sample(shape)
    if name != "noisy":
        pytest.importorskip("pywt")
    outcome = parse_method(name).run(sample, 0, False)
    assert outcome.image.shape == shape
    before = np.abs(sample.noisy - sample.clean).mean()
    assert np.abs(outcome.image - sample.clean).mean() <= before


def test_bm3d_gets_the_level_in_the_images_own_units():
    pytest.importorskip("bm3d")
    sample = _sample()
    outcome = parse_method("bm3d:true").run(sample, 0, False)
    assert outcome.details["sigma"] == 10
    error = np.abs(outcome.image - sample.clean).mean()
    assert error < 0.3 * np.abs(sample.noisy - sample.clean).mean()


def test_threads_are_those_of_the_job_where_a_method_has_several():
    pinned = with_threads(parse_method("fast"), 3)
    assert pinned.settings["options"]["threads"] == 3
    assert with_threads(CLASSICAL["nlm"], 3) is CLASSICAL["nlm"]


@pytest.mark.parametrize("kind", ["uint8", "uint16", "int32"])
@pytest.mark.parametrize("name", ["bm3d:skimage", "nlm", "wavelet"])
def test_peers_return_whole_numbers_of_the_dtype_for_integers(name, kind):
    pytest.importorskip("pywt")
    pytest.importorskip("bm3d")
    clean = np.full((32, 32), 250.0)
    noisy = np.random.default_rng(0).normal(clean, 10).clip(0, 255).astype(kind)
    sample = Sample(noisy, clean, 255.0, None, bounded=True)
    image = parse_method(name).run(sample, 0, False).image
    assert np.array_equal(image, image.astype(kind))
    assert image.std() > 0


@pytest.mark.parametrize("bounded", [True, False])
def test_estimates_of_floats_are_clipped_where_bounded_and_not_rounded(bounded):
    noisy = np.zeros((1, 3), np.float32)
    sample = Sample(noisy, noisy, 255.0, None, bounded=bounded)
    estimate = np.array([[-1.5, 0.5, 256.5]])
    wanted = [[0, 0.5, 255]] if bounded else estimate
    assert np.array_equal(_bounded(estimate, sample), wanted)


@pytest.mark.parametrize("shape", [(32, 32), (32, 32, 3)])
@pytest.mark.parametrize("sigma", ["true", "ours", "skimage", "oracle"])
def test_bm3d_takes_the_threads_of_the_job(sigma, shape, monkeypatch):
    package = pytest.importorskip("bm3d")
    taken = set()

    def denoise(noisy, level, profile):
        taken.add(profile.num_threads)
        return noisy

    monkeypatch.setattr(package, "bm3d", denoise)
    monkeypatch.setattr(package, "bm3d_rgb", denoise)
    method = with_threads(parse_method(f"bm3d:{sigma}"), 3)
    method.run(_sample(shape), 0, False)
    assert taken == {3}
    assert (method.name, method.settings["sigma"]) == (f"bm3d:{sigma}", sigma)


def _step(scale, iteration, *, preview=None, finished=None):
    return SimpleNamespace(
        scale=scale, iteration=iteration, loss=0.0, preview=preview, finished_scale=finished
    )


def _varied() -> Sample:
    clean = np.random.default_rng(1).uniform(0, 255, (32, 32, 3))
    return Sample(clean.astype(np.float32), clean, 255.0, None, bounded=False)


def test_tracer_tells_how_far_each_stop_fell_below_its_peak():
    sample = _varied()
    tracer = Tracer(sample)
    noise = np.random.default_rng(0).standard_normal(sample.clean.shape)
    small = _resized(sample.clean, (16, 16, 3))
    tracer.note(_step(1, 10, preview=small + noise[:16, :16]))
    finished = SimpleNamespace(image=small + 2 * noise[:16, :16])
    tracer.note(_step(1, 20, finished=finished))
    tracer.note(_step(0, 5, preview=sample.clean + 4 * noise))
    tracer.note(_step(0, 9, finished=SimpleNamespace(image=sample.clean + noise)))
    summary = tracer.summary()
    finest, coarsest = map(float, summary["stop_losses"].split())
    assert finest == 0
    assert coarsest == pytest.approx(6.02, abs=0.1)
    assert float(summary["peaks"].split()[0]) == pytest.approx(48.13, abs=0.1)


def test_a_trace_has_every_iteration_however_quick_the_machine_is():
    method = parse_method(
        "fast+widths=4,4+iterations=6+coarsest_iterations=4+min_size=16+max_scales=2"
    )
    first, second = (method.run(_varied(), 0, True) for _ in range(2))
    assert first.trace == second.trace
    done = map(int, first.details["iterations"].split())
    for scale, iterations in enumerate(done):
        points = [point for point in first.trace if point["scale"] == scale]
        shown = [point["iteration"] for point in points if not point["finished"]]
        assert shown == list(range(1, iterations + 1))
        assert len(points) == iterations + 1


def test_the_time_of_a_run_includes_measuring_its_noise(monkeypatch):
    measure = piece.iter_denoise_part

    def slow(*args, **kwargs):
        time.sleep(1)
        return measure(*args, **kwargs)

    monkeypatch.setattr(piece, "iter_denoise_part", slow)
    start = time.perf_counter()
    outcome = parse_method("fast+widths=4,4+iterations=1+max_scales=1").run(
        _varied(), 0, False
    )
    assert 1 <= outcome.seconds <= time.perf_counter() - start


def test_a_trace_that_fails_leaves_the_engine_as_it_was(monkeypatch):
    monkeypatch.setattr(engine, "_PREVIEW_SECONDS", 1e6)
    monkeypatch.setattr(Tracer, "note", lambda self, progress: 1 / 0)
    method = parse_method("fast+widths=4,4+iterations=1+max_scales=1")
    with pytest.raises(ZeroDivisionError):
        method.run(_varied(), 0, True)
    assert engine._PREVIEW_SECONDS == 1e6


def test_a_frame_of_another_brightness_is_no_worse_a_stop():
    sample = _varied()
    tracer = Tracer(sample)
    noise = np.random.default_rng(0).standard_normal(sample.clean.shape)
    fitted = 1.1 * sample.clean + 5 + noise
    tracer.note(_step(0, 5, preview=sample.clean + 2 * noise))
    tracer.note(_step(0, 9, finished=SimpleNamespace(image=fitted)))
    early, late = tracer.points
    assert late["psnr"] < early["psnr"] - 10
    assert late["affine_psnr"] > early["affine_psnr"]
    assert float(tracer.summary()["stop_losses"]) == 0
