"""Kinds of noise, by what an image shows of it."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from napari_msdip._noise.filtered import Filtered
from napari_msdip._noise.kind import (
    Evidence,
    Kind,
    is_clear_behind,
    kind_among_spots,
    kind_behind,
    kind_of_noise,
)

IMAGE = np.random.default_rng(0).normal(size=(1, 64, 64)).astype(np.float32)
REGISTERED = Evidence(
    correlation=0.25,
    anisotropy=0.0,
    level=10.0,
    white=6.6,
    highest=4.2,
    excess=0.0,
    unevenness=1.0,
    roughness=0.7,
    skewness=0.0,
    rise=0.0,
    bulge=1.0,
    divergence=1.0,
    contrast=200.0,
    step=1.0,
)
CAMERA = Evidence(
    correlation=0.55,
    anisotropy=0.0,
    level=2.5,
    white=0.7,
    highest=0.6,
    excess=0.3,
    unevenness=1.5,
    roughness=0.7,
    skewness=0.0,
    rise=0.0,
    bulge=1.0,
    divergence=1.0,
    contrast=160.0,
    step=1.0,
)


def test_noise_whose_neighbours_were_averaged_is_resampled() -> None:
    assert kind_of_noise(REGISTERED, IMAGE) is Kind.RESAMPLED


def test_a_cameras_noise_is_correlated() -> None:
    assert kind_of_noise(CAMERA, IMAGE) is Kind.CORRELATED


SPOTTED = dataclasses.replace(CAMERA, level=15.0, unevenness=4.0, skewness=0.5)


def test_calm_blocks_tell_the_kind_of_noise_among_spots() -> None:
    white = dataclasses.replace(CAMERA, level=0.7, correlation=0.0, unevenness=1.0)

    kind = kind_of_noise(SPOTTED, IMAGE)
    assert kind is Kind.WHITE
    assert kind_among_spots(kind, CAMERA, IMAGE) is Kind.CORRELATED
    assert kind_among_spots(kind, REGISTERED, IMAGE) is Kind.RESAMPLED
    assert kind_among_spots(kind, white, IMAGE) is Kind.WHITE


@pytest.mark.parametrize(("skewness", "kind"), [(0.3, Kind.CORRELATED), (0.6, Kind.WHITE)])
def test_where_even_calm_blocks_are_skewed_spots_may_pass_for_noise(
    skewness: float, kind: Kind
) -> None:
    spotted = dataclasses.replace(CAMERA, skewness=0.5)
    calm = dataclasses.replace(CAMERA, skewness=skewness)

    assert kind_among_spots(kind_of_noise(spotted, IMAGE), calm, IMAGE) is kind


@pytest.mark.parametrize("skewness", [-0.5, 0.1])
def test_tails_on_the_other_side_are_no_spots(skewness: float) -> None:
    assert not dataclasses.replace(CAMERA, skewness=skewness).is_spotted
    assert dataclasses.replace(CAMERA, skewness=0.3).is_spotted


NETWORK = dataclasses.replace(CAMERA, level=16.0, excess=0.1, unevenness=1.45, rise=0.95)


def test_bright_and_dark_filaments_make_strong_uneven_and_steadily_rising_levels() -> None:
    assert NETWORK.is_networked
    assert dataclasses.replace(NETWORK, rise=-0.95).is_networked


@pytest.mark.parametrize(
    "sign", [{"rise": 0.5}, {"unevenness": 1.1}, {"level": 5.0}], ids=str
)
def test_each_sign_can_speak_against_filaments(sign: dict[str, float]) -> None:
    assert not dataclasses.replace(NETWORK, **sign).is_networked


def test_dense_structure_makes_strong_and_uneven_blocks() -> None:
    tissue = dataclasses.replace(NETWORK, excess=0.3, unevenness=1.1, rise=0.0)
    assert tissue.is_networked
    assert not dataclasses.replace(tissue, level=5.0).is_networked
    assert not dataclasses.replace(tissue, excess=0.15).is_networked


DENSE = dataclasses.replace(
    CAMERA, level=28.0, white=10.0, highest=9.0, excess=0.0, unevenness=1.1, contrast=210.0
)


@pytest.mark.parametrize("rise", [0.95, -0.95])
def test_dense_structure_grows_more_than_the_highest_frequencies(rise: float) -> None:
    dense = dataclasses.replace(DENSE, rise=rise, divergence=1.3)
    assert kind_of_noise(dense, IMAGE) is Kind.WHITE


@pytest.mark.parametrize(
    "sign", [{"divergence": 1.1}, {"rise": 0.5}, {"highest": 0.6, "white": 0.7}], ids=str
)
def test_each_sign_can_speak_against_dense_structure(sign: dict[str, float]) -> None:
    noise = dataclasses.replace(DENSE, **{"rise": 0.95, "divergence": 1.3, **sign})
    assert kind_of_noise(noise, IMAGE) is Kind.CORRELATED


PHOTONS = dataclasses.replace(CAMERA, rise=0.95)


def test_photons_noise_rises_with_the_intensity_without_exception() -> None:
    assert PHOTONS.rises_like_photons
    assert not dataclasses.replace(PHOTONS, rise=0.85).rises_like_photons


def test_less_far_above_the_floor_structure_has_to_be_less_even() -> None:
    lines = dataclasses.replace(
        CAMERA,
        level=10.0,
        white=1.41,
        highest=1.4,
        unevenness=1.6,
        contrast=300.0,
        step=0.1,
    )
    assert kind_of_noise(lines, IMAGE) is Kind.WHITE
    for change in ({"unevenness": 1.4}, {"step": 1.0}, {"level": 6.0}):
        noise = dataclasses.replace(lines, **change)
        assert kind_of_noise(noise, IMAGE) is Kind.CORRELATED


@pytest.mark.parametrize(
    "change",
    [
        {"correlation": 0.02},
        {"white": 4.2},
        {"excess": 0.4},
        {"unevenness": 2.0},
        {"level": 16.0},
        {"highest": math.inf},
        {"highest": 0.0},
        {"white": 0.0},
    ],
    ids=str,
)
def test_each_sign_can_speak_against_it(change: dict[str, float]) -> None:
    evidence = dataclasses.replace(REGISTERED, **change)

    assert kind_of_noise(evidence, IMAGE) is Kind.WHITE


def test_a_lattice_is_no_more_even_than_noise() -> None:
    lattice = dataclasses.replace(REGISTERED, correlation=0.02, unevenness=0.0)

    assert kind_of_noise(lattice, IMAGE) is Kind.WHITE


@pytest.mark.parametrize("sign", [{"excess": -0.3}, {"unevenness": 0.7}], ids=str)
def test_what_is_more_even_than_noise_is_a_pattern(sign: dict[str, float]) -> None:
    assert kind_of_noise(dataclasses.replace(CAMERA, **sign), IMAGE) is Kind.WHITE


@pytest.mark.parametrize(
    "unlike_spots", [{"white": 1.9}, {"unevenness": 1.1}, {"step": 2.0}]
)
def test_spots_far_above_a_white_floor_are_not_noise(
    unlike_spots: dict[str, float],
) -> None:
    spots = dataclasses.replace(
        CAMERA, level=20.0, white=1.4, highest=1.4, excess=0.0, contrast=300.0
    )
    assert kind_of_noise(spots, IMAGE) is Kind.WHITE
    noise = dataclasses.replace(spots, **unlike_spots)
    assert kind_of_noise(noise, IMAGE) is Kind.CORRELATED


def test_what_falls_more_than_its_correlation_explains_is_texture() -> None:
    textured = dataclasses.replace(REGISTERED, highest=0.8 * REGISTERED.highest)
    more_correlated = dataclasses.replace(textured, correlation=0.35)

    assert textured.falls_like_texture
    assert kind_of_noise(textured, IMAGE) is Kind.WHITE
    assert kind_of_noise(more_correlated, IMAGE) is Kind.RESAMPLED


def test_noise_correlated_along_one_axis_is_a_scanners() -> None:
    lines = dataclasses.replace(REGISTERED, anisotropy=0.4, white=4.0)
    assert kind_of_noise(lines, IMAGE) is Kind.RESAMPLED

    for change in (
        {"anisotropy": 0.1},
        {"correlation": 0.5, "level": 9.0},
        {"level": 7.5},
        {"level": 17.0},
        {"excess": 0.3},
        {"unevenness": 1.85},
        {"excess": 0.15, "unevenness": 1.4},
    ):
        texture = dataclasses.replace(lines, **change)
        assert kind_of_noise(texture, IMAGE) is Kind.WHITE


def test_a_cameras_noise_has_next_to_nothing_in_the_highest_frequencies() -> None:
    stronger = {"level": 10.0, "white": 2.8, "highest": 2.4}
    texture = dataclasses.replace(CAMERA, **stronger)
    assert kind_of_noise(texture, IMAGE) is Kind.WHITE

    for change in (
        {"contrast": 400.0},
        {"step": 3.0},
        {"excess": 0.1, "unevenness": 1.2},
    ):
        noise = dataclasses.replace(texture, **change)
        assert kind_of_noise(noise, IMAGE) is Kind.CORRELATED


@pytest.mark.parametrize("highest", [0.0, math.inf])
def test_where_the_highest_frequencies_are_unknown_there_is_no_fall(highest: float) -> None:
    unknown = dataclasses.replace(REGISTERED, highest=highest)

    assert unknown.fall == 0
    assert not unknown.falls_like_texture


BLURRED = Filtered(
    correlation=np.ones((3, 3)),
    channels=np.eye(1),
    intensities=np.zeros(1),
    sigmas=np.ones(1),
    misfit=0.1,
    departure=0.35,
    unevenness=0.3,
    growth=1.0,
    rival=0.1,
)


def test_what_flat_blocks_tell_of_correlated_noise_gives_way_to_a_filter_that_fits() -> (
    None
):
    assert kind_behind(BLURRED, Kind.CORRELATED, CAMERA) is Kind.FILTERED
    for change in ({"misfit": 0.2}, {"is_shared": False}):
        other = dataclasses.replace(BLURRED, **change)
        assert kind_behind(other, Kind.CORRELATED, CAMERA) is Kind.CORRELATED


def test_even_blocks_tell_more_than_a_filter_that_hardly_fits() -> None:
    vague = dataclasses.replace(BLURRED, misfit=0.2, departure=1.9, rival=0.2, growth=1.4)
    even = dataclasses.replace(CAMERA, excess=0.1)
    uneven = dataclasses.replace(CAMERA, excess=0.2)

    assert kind_behind(vague, Kind.CORRELATED, even) is Kind.CORRELATED
    assert kind_behind(vague, Kind.CORRELATED, uneven) is Kind.FILTERED
    for change in ({"growth": 1.1}, {"misfit": 0.1}, {"rival": 0.4}):
        clearer = dataclasses.replace(vague, **change)
        assert kind_behind(clearer, Kind.CORRELATED, even) is Kind.FILTERED


def test_where_energies_grow_together_strong_noise_is_structure() -> None:
    growing = dataclasses.replace(BLURRED, misfit=0.3, growth=1.6)
    strong = dataclasses.replace(CAMERA, level=5.0)

    assert kind_behind(growing, Kind.CORRELATED, strong) is Kind.WHITE
    assert kind_behind(growing, Kind.CORRELATED, CAMERA) is Kind.CORRELATED
    steady = dataclasses.replace(growing, growth=1.2)
    assert kind_behind(steady, Kind.CORRELATED, strong) is Kind.CORRELATED
    even = dataclasses.replace(strong, excess=0.1)
    assert kind_behind(growing, Kind.CORRELATED, even) is Kind.CORRELATED


def test_a_likely_filter_needs_the_word_of_flat_blocks_or_of_photons() -> None:
    photons = dataclasses.replace(REGISTERED, rise=0.95)

    assert kind_behind(BLURRED, Kind.RESAMPLED, REGISTERED) is Kind.FILTERED
    assert kind_behind(BLURRED, Kind.WHITE, photons) is Kind.FILTERED
    assert kind_behind(BLURRED, Kind.WHITE, REGISTERED) is Kind.WHITE
    near = dataclasses.replace(BLURRED, departure=0.2)
    assert kind_behind(near, Kind.RESAMPLED, REGISTERED) is Kind.RESAMPLED


UNEVEN = dataclasses.replace(REGISTERED, rise=0.95, excess=0.3)
EVEN = dataclasses.replace(UNEVEN, excess=0.05)
BARELY = dataclasses.replace(BLURRED, departure=0.7, unevenness=0.42)


@pytest.mark.parametrize("behind", [BLURRED, BARELY], ids=["near white", "barely even"])
def test_white_noise_over_texture_looks_like_noise_behind_a_filter(
    behind: Filtered,
) -> None:
    assert kind_behind(behind, Kind.WHITE, UNEVEN) is Kind.WHITE
    assert kind_behind(behind, Kind.WHITE, EVEN) is Kind.FILTERED
    even = dataclasses.replace(behind, departure=0.7, unevenness=0.3)
    assert kind_behind(even, Kind.WHITE, UNEVEN) is Kind.FILTERED
    denser = dataclasses.replace(UNEVEN, excess=0.4)
    assert kind_behind(even, Kind.WHITE, denser) is Kind.WHITE
    soft = dataclasses.replace(denser, roughness=0.4)
    assert kind_behind(even, Kind.WHITE, soft) is Kind.FILTERED


def test_a_clear_filter_is_less_clear_where_texture_looks_like_one() -> None:
    assert is_clear_behind(BARELY, EVEN)
    assert not is_clear_behind(BARELY, UNEVEN)
    # Neither texture nor white noise looks like a mean, or departs this far.
    for change in ({"rival": 0.3}, {"departure": 1.5, "unevenness": 0.47}):
        assert is_clear_behind(dataclasses.replace(BARELY, **change), UNEVEN)


IN_JPEG = dataclasses.replace(
    CAMERA, correlation=0.35, level=6.0, white=3.0, excess=0.2, roughness=0.75
)


def test_noise_in_a_jpeg_is_faint_or_emptied_or_rougher_than_texture() -> None:
    rough = dataclasses.replace(IN_JPEG, white=6.0, roughness=0.92)
    faint = dataclasses.replace(CAMERA, level=2.0)
    needed = [each.least_blockiness for each in (rough, IN_JPEG, faint)]
    assert 1 < needed[0] < needed[1] < needed[2] < math.inf


@pytest.mark.parametrize(
    "change",
    [
        {"correlation": 0.55},
        {"excess": 0.5},
        {"unevenness": 2.4},
        {"roughness": 0.45},
        {"white": 6.0},
    ],
    ids=lambda change: next(iter(change)),
)
def test_compressed_texture_is_no_noise_however_blocky(change: dict[str, float]) -> None:
    assert dataclasses.replace(IN_JPEG, **change).least_blockiness == math.inf
