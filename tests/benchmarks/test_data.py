from __future__ import annotations

import numpy as np
import pytest
from benchmarks.data import (
    DATA_VARIABLE,
    NOISES,
    add_noise,
    centre_crop,
    data_root,
    list_cases,
    load,
)


def test_clean_sets_are_crossed_with_noises_and_protocols(data):
    cases = list_cases(
        data,
        ["Set9"],
        noises=["gauss10", "poisson"],
        protocols=["clipped", "unclipped"],
    )
    assert {(case.noise, case.protocol) for case in cases} == {
        (noise, protocol)
        for noise in ("gauss10", "poisson")
        for protocol in ("clipped", "unclipped")
    }


def test_real_sets_stay_as_they_are_and_bring_all_realisations(data):
    cases = list_cases(data, ["FMD"], noises=["gauss10", "gauss50"])
    assert [case.image for case in cases] == ["cells_1", "cells_2"]
    assert {case.noise for case in cases} == {"real"}
    assert len(list_cases(data, ["FMD"], images=["*_2"])) == 1


def test_real_noise_comes_from_its_file_in_its_dtype(data):
    (case,) = list_cases(data, ["Bacteria_16bit"])
    sample = load(case)
    assert sample.noisy.dtype == np.uint16
    assert np.all(sample.noisy - sample.clean == 7)
    assert sample.data_range == np.ptp(sample.clean)
    assert sample.sigma is None


def _pairs(root, clean, noisy):
    for folder, names in (("clean", clean), ("noisy", noisy)):
        for name in names:
            path = root / "Bacteria_16bit" / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    cases = list_cases(root, ["Bacteria_16bit"])
    return [(case.clean.name, case.noisy.name) for case in cases]


def test_several_images_with_real_noise_pair_up_by_name(tmp_path):
    names = ["a.png", "b.png", "c.png"]
    assert _pairs(tmp_path, names, names) == [(name, name) for name in names]


@pytest.mark.parametrize(
    ("clean", "noisy"),
    [
        (["a.png", "b.png"], ["a.png", "c.png"]),
        (["a.png", "b.png"], ["c.png"]),
        (["a.png"], ["b.png", "c.png"]),
        (["a.png"], ["a.png", "a.tif"]),
    ],
)
def test_images_that_pair_up_in_no_clear_way_are_refused(tmp_path, clean, noisy):
    with pytest.raises(ValueError, match=r"[ab]\.png: which of the .* is its noisy image"):
        _pairs(tmp_path, clean, noisy)


def test_synthetic_noise_repeats_and_crops_are_cut_from_it(data):
    (case,) = list_cases(data, ["Set9"], noises=["gauss25"])
    whole, again, cut = load(case), load(case), load(case, crop=16)
    assert np.array_equal(whole.noisy, again.noisy)
    assert np.array_equal(cut.noisy, whole.noisy[12:28, 16:32])
    assert np.array_equal(cut.clean, whole.clean[12:28, 16:32])
    assert (whole.sigma, whole.data_range) == (25, 255)


def test_white_noise_of_all_levels_is_one_field(data):
    weak, strong = (
        load(case).noisy - load(case).clean
        for case in list_cases(data, ["Set9"], noises=["gauss10", "gauss50"])
    )
    assert np.allclose(5 * weak, strong, atol=1e-3)


def test_protocols_differ_only_in_clipping(data):
    free, clipped = (
        load(case)
        for case in list_cases(data, ["Set9"], protocols=["unclipped", "clipped"])
    )
    assert free.noisy.min() < 0 < 255 < free.noisy.max()
    assert np.array_equal(free.noisy.clip(0, 255), clipped.noisy)
    assert clipped.bounded and not free.bounded


@pytest.mark.parametrize("noise", [name for name in NOISES if NOISES[name].sigma])
def test_noise_has_the_stated_deviation(noise):
    flat = np.full((128, 128, 3), 128.0)
    residual = add_noise(flat, noise, seed=5) - flat
    assert residual.std() == pytest.approx(NOISES[noise].sigma, rel=0.02)
    assert abs(residual.mean()) < 0.05 * NOISES[noise].sigma


def test_correlated_noise_is_correlated_and_white_noise_is_not():
    flat = np.full((128, 128), 128.0)

    def neighbours(noise):
        residual = add_noise(flat, noise, seed=6) - flat
        return np.corrcoef(residual[:, 1:].ravel(), residual[:, :-1].ravel())[0, 1]

    assert neighbours("correlated") > 0.6
    assert abs(neighbours("gauss25")) < 0.05


def test_noise_along_lines_is_correlated_along_them_alone():
    flat = np.full((256, 256), 100.0)
    residual = add_noise(flat, "lines", seed=5) - flat
    along = np.corrcoef(residual[:, 1:].ravel(), residual[:, :-1].ravel())[0, 1]
    across = np.corrcoef(residual[1:].ravel(), residual[:-1].ravel())[0, 1]
    assert along == pytest.approx(2 / 3, abs=0.03)
    assert abs(across) < 0.03


@pytest.mark.parametrize(
    "noise", ["photons1", "photons5", "photons30", "speckle", "multiplied", "median"]
)
@pytest.mark.parametrize("shape", [(128, 128), (128, 128, 3)])
def test_noise_keeps_the_mean_and_the_shape(noise, shape):
    noisy = add_noise(np.full(shape, 120.0), noise, seed=5)
    assert noisy.shape == shape
    assert noisy.mean() == pytest.approx(120, rel=0.03)
    assert noisy.std() > 5


def test_hot_pixels_are_few_and_far_brighter():
    noisy = add_noise(np.full((256, 256), 60.0), "hot", seed=5)
    assert (noisy > 180).mean() == pytest.approx(0.002, rel=0.3)


def test_poisson_noise_grows_with_the_signal_and_keeps_the_mean():
    dark, bright = (
        add_noise(np.full((128, 128), level), "poisson", seed=7) for level in (10.0, 200.0)
    )
    assert bright.std() > 2 * dark.std()
    assert bright.mean() == pytest.approx(200, rel=0.01)


def test_centre_crop_keeps_short_sides_whole():
    assert centre_crop(np.zeros((10, 40, 3)), 20).shape == (10, 20, 3)


def test_wrong_names_and_missing_data_are_named(data, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="set='Set10'"):
        list_cases(data, ["Set10"])
    with pytest.raises(ValueError, match="noise='salt'"):
        list_cases(data, ["Set9"], noises=["salt"])
    with pytest.raises(FileNotFoundError, match="CBSD68"):
        list_cases(data, ["CBSD68"])
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match="nowhere"):
        data_root()
    monkeypatch.setenv(DATA_VARIABLE, str(data))
    assert data_root() == data
