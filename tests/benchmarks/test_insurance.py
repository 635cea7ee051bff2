"""The fit of what stays of a noisy image."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from benchmarks.insurance import Crop, Fit, gray, look, parts
from skimage import data


def crop(clean: Any, sigma: float) -> Crop:
    noise = np.random.default_rng(0).normal(0, sigma, clean.shape)
    return Crop("picture", clean, (clean + noise).astype(np.float32))


def test_a_crop_shows_how_far_the_level_is_off() -> None:
    flat, grass = np.full((96, 96), 100.0), 1.0 * data.grass()[200:328, 200:328]
    even, textured = look(crop(flat, 5.0)), look(crop(grass, 3.0))
    assert even is not None and textured is not None
    assert even.ratio == pytest.approx(1, abs=0.1)
    assert textured.ratio > 1.5


def test_parts_lie_within_the_picture() -> None:
    picture = np.arange(300 * 500.0).reshape(300, 500) / 600
    found = list(parts(picture, np.random.default_rng(0)))
    assert len(found) == 10
    assert all(min(part.shape) >= 128 and max(part.shape) <= 400 for part in found)


def test_pictures_are_gray_and_not_too_large() -> None:
    found = gray(data.astronaut())
    assert found.shape == (512, 512)
    assert 50 < found.mean() < 200
    assert gray(np.zeros((1500, 900), np.uint8)).shape == (750, 450)


def fit(risk: Any) -> Fit:
    """Fit to crops of which the risky ones lose all that texture was."""
    seen: list[Any] = [
        SimpleNamespace(signs={"risk": each}, crop=SimpleNamespace(weight=1.0))
        for each in risk
    ]
    errors = np.where(risk > 0, 9.0, 0.2)
    return Fit(seen, np.full(len(risk), 0.2), errors)


def test_keeping_all_changes_nothing_and_nothing_leaves_the_result() -> None:
    fitted = fit(np.linspace(-1, 1, 100))
    assert fitted.change(torch.ones(100)).abs().max() < 1e-6
    assert fitted.change(torch.zeros(100))[-1] == pytest.approx(10 * np.log10(9.0))


def test_much_stays_where_much_would_be_lost_also_of_parts_left_out() -> None:
    fitted = fit(np.linspace(-1, 1, 200))
    shares = fitted.left_out(np.arange(200) % 8)
    assert shares[:60].max() < 0.1 < 0.6 < shares[-60:].min()
    change = fitted.change(shares)
    assert change[-60:].max() < 1 < 9 < fitted.change(torch.zeros(200))[-1]
