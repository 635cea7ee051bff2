"""What the scales of a run are told of the noise, and what they learn of it themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from tests.samples import TINY, clean_picture

from napari_msdip import resolve
from napari_msdip._run.noise import RunNoise
from napari_msdip._run.units import Units
from napari_msdip.measured import Prepared

SHAPE, SMALL = (96, 88), (60, 55)


def run_noise(image: Any, **changes: Any) -> RunNoise:
    options = TINY.replace(**changes)
    ready = Prepared.of(image, None, options)
    units = Units.of(
        ready.planar, ready.given, ready.layout, ready.measured.normalisation, "input"
    )
    return RunNoise(ready.measured, units, resolve(options, SHAPE, ready.level))


def noisy(width: float, level: float = 0.1) -> Any:
    drawn = np.random.default_rng(0).standard_normal(SHAPE)
    field = gaussian_filter(drawn, width, mode="wrap") if width else drawn
    return (clean_picture(SHAPE) + level * field / field.std()).astype(np.float32)


def clean(noise: RunNoise) -> Any:
    return torch.from_numpy(noise.units.normalisation.apply(clean_picture(SHAPE)))[
        None, None
    ].float()


def test_the_level_is_that_of_the_image_at_any_size_and_in_any_unit() -> None:
    noise, louder = run_noise(noisy(0)), run_noise(1000 * noisy(0) - 300)
    gain = noise.measured.normalisation.gain
    for shape in (SHAPE, SMALL):
        level = noise.sigma(shape)
        assert level.shape == (1, 1, *shape)
        assert float(level.mean()) * gain == pytest.approx(0.1, rel=0.1)
        torch.testing.assert_close(louder.sigma(shape), level, rtol=0.01, atol=0)


def test_fresh_noise_is_the_same_for_the_same_seed_and_fits_each_scale() -> None:
    first, again = (run_noise(noisy(1.0)) for _ in range(2))
    other = run_noise(noisy(1.0), seed=1)
    for shape in (SHAPE, SMALL):
        fields = [each.bank(shape).fields for each in (first, again, other)]
        assert fields[0].shape[-2:] == shape
        torch.testing.assert_close(fields[0], fields[1])
        assert not torch.equal(fields[0], fields[2])


def test_without_recorruption_there_is_no_noise_to_add() -> None:
    noise = run_noise(noisy(1.0), recorruption=0.0, code_channels=4)
    assert noise.bank(SHAPE) is None
    assert noise.bank_of_scale(noise.units.normalised("cpu"), clean(noise)) is None


def test_what_a_fit_has_removed_tells_the_level_anew() -> None:
    noise = run_noise(noisy(1.0))
    found = noise.again(clean(noise), clean(noise))

    assert noise.model.growth == 1
    assert found.model is not noise.model
    assert found.model.overall(noise.units.planar) == pytest.approx(0.1, rel=0.2)
    assert not torch.equal(found.sigma(SHAPE), noise.sigma(SHAPE))
    assert found.measured.normalisation is noise.measured.normalisation


def test_a_scale_learns_of_its_own_noise_and_the_image_stays() -> None:
    noise = run_noise(noisy(1.0))
    before = noise.sigma(SHAPE).clone()
    target = noise.units.normalised("cpu")

    bank = noise.bank_of_scale(target, clean(noise))

    removed = float((target - clean(noise)).std())
    assert float(bank.sigma.mean()) == pytest.approx(removed, rel=0.2)
    torch.testing.assert_close(noise.sigma(SHAPE), before)


def test_too_small_a_scale_learns_nothing() -> None:
    noise = run_noise(noisy(1.0))
    tiny = noise.units.normalised("cpu")[..., :20, :20]
    assert noise.bank_of_scale(tiny, 0.5 * tiny) is None
