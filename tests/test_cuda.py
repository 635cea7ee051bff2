"""What only a CUDA device can show; left out where there is none."""

from __future__ import annotations

import copy
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from tests.samples import clean_picture, driven, noisy_picture, rms

from napari_msdip import Options, Status, denoise, fit
from napari_msdip._fit.descent import Descent
from napari_msdip.cost import expected_cost, expected_memory
from napari_msdip.tiling import iter_denoise_fitting

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

SHAPE = (96, 112)
SHORT = Options(device="cuda", iterations=60, coarsest_iterations=60)
FEW = SHORT.replace(iterations=40, coarsest_iterations=40)
SHORTEST = SHORT.replace(iterations=20, coarsest_iterations=20)


@pytest.fixture
def scarce() -> Iterator[Any]:
    """Let PyTorch have so many bytes of the device and no more."""
    total = torch.cuda.get_device_properties(0).total_memory

    def limit(room: int) -> None:
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(room / total)

    yield limit
    torch.cuda.set_per_process_memory_fraction(1.0)
    torch.cuda.empty_cache()


def eager(device: torch.device, network: Any, loss: Any) -> Descent:
    return Descent(network, loss)


@pytest.mark.parametrize("channels", [None, 3])
def test_it_denoises_as_well_as_the_cpu(channels: int | None) -> None:
    clean = clean_picture(SHAPE, channels)
    noisy = noisy_picture(SHAPE, channels)
    axis = None if channels is None else 2
    here, there = (
        denoise(noisy, SHORT.replace(device=device), channel_axis=axis)
        for device in ("cpu", "cuda")
    )
    assert there.plan.device == "cuda"
    assert there.plan.precision == "float32"
    assert rms(there.image - clean) < 0.8 * rms(noisy - clean)
    assert rms(there.image - clean) == pytest.approx(rms(here.image - clean), rel=0.1)


def test_auto_takes_it() -> None:
    assert denoise(noisy_picture(SHAPE), FEW.replace(device="auto")).plan.device == "cuda"


def test_graphs_find_what_single_operations_find(monkeypatch: pytest.MonkeyPatch) -> None:
    noisy, clean = noisy_picture(SHAPE), clean_picture(SHAPE)
    graphs, again = denoise(noisy, SHORT), denoise(noisy, SHORT)
    monkeypatch.setattr(fit, "descent_on", eager)
    single = denoise(noisy, SHORT)
    # Sums on the device come in any order, so that no two runs are the same to the bit.
    spread = rms(graphs.image - again.image)
    assert rms(graphs.image - single.image) < 3 * spread + 0.05 * rms(noisy - clean)


@pytest.mark.parametrize(
    "changes",
    [
        {"code_channels": 4, "recorruption": 0.0, "padding": "reflection"},
        {"upsampling": "bilinear", "fold": 2, "bounded": False},
        {"guidance": True, "warm_start": "never"},
        {"stopping": "held-out"},
        {"stopping": "plateau", "symmetries": False},
        {"consistency": "pixels", "scale_weights": "equal"},
        {"precision": "bfloat16"},
        {"step_pixels": 4096, "min_size": 32},
    ],
    ids=str,
)
def test_every_kind_of_fit_runs(changes: dict[str, Any]) -> None:
    shape = (160, 176) if "step_pixels" in changes else SHAPE
    noisy = noisy_picture(shape, 2)
    result = denoise(noisy, FEW.replace(**changes), channel_axis=2)
    assert result.status is Status.COMPLETED
    assert np.isfinite(result.image).all()
    assert rms(result.image - clean_picture(shape, 2)) < rms(
        noisy - clean_picture(shape, 2)
    )


def test_no_warning_and_no_change_of_the_process() -> None:
    state = torch.cuda.get_rng_state()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        denoise(noisy_picture(SHAPE), FEW)
    assert torch.equal(torch.cuda.get_rng_state(), state)


def test_cancelled_run_gives_the_memory_back() -> None:
    denoise(noisy_picture(SHAPE), FEW)
    before = torch.cuda.memory_allocated()
    asked = iter([False] * 20)
    result = denoise(noisy_picture(SHAPE), FEW, should_stop=lambda: next(asked, True))
    assert result.status is Status.CANCELLED
    del result
    assert torch.cuda.memory_allocated() <= before + 2**20


@pytest.mark.parametrize(
    ("shape", "changes"),
    [((256, 256), {}), ((640, 640), {}), ((256, 256), {"precision": "bfloat16"})],
)
def test_no_run_takes_more_memory_than_expected(
    shape: tuple[int, int], changes: dict[str, Any]
) -> None:
    options = SHORTEST.replace(**changes)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    denoise(noisy_picture(shape), options)
    taken = torch.cuda.max_memory_allocated() - before
    assert taken < expected_memory(shape, 1, options)


def test_forecast_is_about_right() -> None:
    noisy = noisy_picture((256, 256))
    options = Options(device="cuda", stopping="none")
    denoise(noisy, options)
    taken = denoise(noisy, options).seconds
    assert 0.4 * taken < expected_cost((256, 256), options).seconds < 2.5 * taken


def test_where_memory_is_short_tiles_do(scarce: Any) -> None:
    noisy = noisy_picture((512, 512))
    scarce(250 * 2**20)
    whole = SHORTEST.replace(step_pixels=None)
    with pytest.warns(RuntimeWarning, match="ran out of memory; going on with tiles"):
        result = driven(iter_denoise_fitting(noisy, whole))[0]
    assert result.plan.device == "cuda"
    assert rms(result.image - clean_picture((512, 512))) < rms(
        noisy - clean_picture((512, 512))
    )


def test_where_there_is_none_the_cpu_does(scarce: Any) -> None:
    noisy = noisy_picture((128, 128))
    scarce(4 * 2**20)
    with pytest.warns(RuntimeWarning, match="going on with the CPU"):
        result = driven(iter_denoise_fitting(noisy, SHORTEST))[0]
    assert result.plan.device == "cpu"


def test_device_works_after_it_was_full(scarce: Any) -> None:
    noisy = noisy_picture(SHAPE)
    before = copy.copy(noisy)
    scarce(4 * 2**20)
    with pytest.raises(RuntimeError, match="out of memory"):
        denoise(noisy, FEW)
    scarce(2 * 2**30)
    assert denoise(noisy, FEW).status is Status.COMPLETED
    assert np.array_equal(noisy, before)
