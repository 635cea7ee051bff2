from __future__ import annotations

import pytest
import torch
from benchmarks.roofline import Ceilings, Recorder, described, options_of, step_of

from benchmarks import roofline
from napari_msdip import devices


@pytest.mark.parametrize(
    ("side", "whole", "said"),
    [
        (512, False, "on 24 crops of 64×64, 512×512 RGB, float32, 1 thread"),
        (512, True, "on the whole image, 512×512 RGB"),
        (256, False, "on the whole image, 256×256 RGB"),
    ],
)
def test_it_says_what_a_step_sees(side, whole, said):
    options = options_of("fast", precision="float32", whole=whole)
    assert said in described("fast", options, side)


@pytest.mark.parametrize("found", ["float32", "bfloat16"])
def test_precision_is_what_a_run_here_would_take(monkeypatch, found):
    monkeypatch.setattr(devices, "_probed_precision", lambda: found)
    assert options_of("fast").precision == found
    assert options_of("fast", precision="float32").precision == "float32"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_arithmetic_is_bounded_by_convolutions_in_the_format_of_the_step(
    monkeypatch, dtype
):
    seen = set()

    def convolve(image, kernel, padding):
        seen.update((image.dtype, kernel.dtype))

    monkeypatch.setattr(roofline.F, "conv2d", convolve)
    monkeypatch.setattr(roofline, "WORKING_SETS", (1024.0,))
    Ceilings(dtype).measure()
    assert seen == {dtype}


def test_a_step_in_either_format_has_the_same_arithmetic():
    flops = []
    for precision in roofline.FORMATS:
        step = step_of(options_of("fast", precision=precision), 32)
        with Recorder() as recorder:
            step()
        flops.append(sum(each.flops for each in recorder.operations))
    assert flops[0] == flops[1] > 0
