"""What holds for both filters of similar patches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from tests.patches import SIGMA, clean, error, model, noise
from tests.samples import driven

from napari_msdip._refinement import bayes, collaborative, similar

if TYPE_CHECKING:
    from torch import Tensor

both = pytest.mark.parametrize("module", [bayes, collaborative], ids=lambda m: m.__name__)


def filtered(module: Any, noisy: Tensor, pilot: Tensor, **settings: float) -> Tensor:
    run = bayes.bayes_filter if module is bayes else collaborative.collaborative_filter
    sigma = torch.full((1, 1, *noisy.shape[-2:]), SIGMA)
    steps = run(noisy, pilot, sigma, model(noisy.shape[1]), **settings)
    result, shares = driven(steps)
    assert shares == sorted(shares)
    assert shares[-1] == 1
    return result


@both
def test_more_noise_is_expected_more_is_removed(module: Any) -> None:
    truth = clean((48, 48))
    noisy = truth + noise(truth.shape)
    gentle, strong = (
        error(filtered(module, noisy, truth, margin=margin), noisy) for margin in (0.2, 4.0)
    )
    assert gentle < strong


@both
def test_without_a_share_no_noise_comes_back(module: Any) -> None:
    truth = clean((40, 40))
    result = filtered(module, truth + noise(truth.shape), truth, share=0.0)
    assert error(result, truth) < 0.1 * SIGMA


@both
def test_the_order_of_the_channels_does_not_matter(module: Any) -> None:
    truth = clean((40, 44), channels=3)
    noisy = truth + noise(truth.shape)
    order = [2, 0, 1]
    turned = filtered(module, noisy[:, order], truth[:, order])
    expected = filtered(module, noisy, truth)[:, order]
    # Rounding may tip a coefficient over the threshold.
    torch.testing.assert_close(turned, expected, atol=0.02 * SIGMA, rtol=0)


@both
@pytest.mark.parametrize("shape", [(8, 8), (9, 31), (16, 16), (37, 53)])
def test_any_size_is_covered(module: Any, shape: tuple[int, int]) -> None:
    truth = clean(shape, channels=2)
    noisy = truth + noise(truth.shape)
    result = filtered(module, noisy, truth)
    assert result.shape == truth.shape
    assert error(result, truth) < SIGMA


@both
def test_working_in_strips_changes_nothing(
    module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = clean((60, 40))
    noisy = truth + noise(truth.shape)
    whole = filtered(module, noisy, truth)
    monkeypatch.setattr(similar, "_AT_ONCE", 1)
    torch.testing.assert_close(filtered(module, noisy, truth), whole)


@both
def test_images_are_not_modified(module: Any) -> None:
    truth = clean((32, 32))
    noisy = truth + noise(truth.shape)
    before = noisy.clone(), truth.clone()
    filtered(module, noisy, truth)
    assert torch.equal(noisy, before[0])
    assert torch.equal(truth, before[1])


@pytest.mark.parametrize("place", [(0, 17), (39, 17), (17, 0), (17, 43)])
def test_groups_stay_inside_however_bright_a_pixel_at_the_border(
    place: tuple[int, int],
) -> None:
    guide = clean((40, 44))[0]
    guide[:, place[0], place[1]] = 1e6
    grid = similar.PatchGrid.on(
        40, 44, side=8, step=4, search=15, group=16, channels=1, device=guide.device
    )
    for _, corners in grid.groups(guide):
        down, across = corners // grid.width, corners % grid.width
        assert ((down >= 0) & (down <= grid.height - grid.side)).all()
        assert ((across >= 0) & (across <= grid.width - grid.side)).all()
