"""The generator: Ulyanov's network by default, for any size of image."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from napari_msdip.generator import Generator, GeneratorConfig, usable_depth


def convolution(inputs: int, outputs: int, kernel: int) -> int:
    """Weights of a convolution, its bias, and scale and shift of its normalisation."""
    return inputs * outputs * kernel**2 + 3 * outputs


def parameters_of_ulyanov(
    inputs: int = 32, width: int = 128, skip: int = 4, depth: int = 5, channels: int = 3
) -> int:
    """Count after the supplement of "Deep Image Prior", with a 1x1 convolution a level."""
    total = 0
    for level in range(depth):
        seen = inputs if level == 0 else width
        down = convolution(seen, width, 3) + convolution(width, width, 3)
        side = convolution(seen, skip, 1)
        joined = 2 * (width + skip)
        up = convolution(width + skip, width, 3) + convolution(width, width, 1)
        total += down + side + joined + up
    return total + width * channels + channels


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def drawn(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1))


def built(**changes: Any) -> Generator:
    small: dict[str, Any] = {"in_channels": 3, "out_channels": 2, "widths": (8, 8, 8)}
    network = Generator(GeneratorConfig(**small | changes))
    network.initialise(torch.Generator().manual_seed(0))
    return network


def test_default_is_ulyanovs_network() -> None:
    network = Generator(GeneratorConfig())

    # A bias before a batch normalisation changes nothing, so ours has none there.
    without_effect = sum(
        module.num_features
        for block in network.modules()
        if isinstance(block, nn.Sequential) and isinstance(block[0], nn.Conv2d)
        for module in block
        if isinstance(module, nn.BatchNorm2d)
    )
    assert parameters_of_ulyanov() == 2_217_831
    assert count(network) + without_effect == parameters_of_ulyanov()


def test_default_structure_is_ulyanovs() -> None:
    network = Generator(GeneratorConfig())
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    kernels = [m.kernel_size[0] for m in convolutions]

    assert kernels.count(3) == 5 * 3
    assert kernels.count(1) == 5 + 5 + 1
    assert sum(m.stride == (2, 2) for m in convolutions) == 5
    assert {m.padding_mode for m in convolutions if m.kernel_size == (3, 3)} == {"reflect"}
    slopes = {m.negative_slope for m in network.modules() if isinstance(m, nn.LeakyReLU)}
    assert slopes == {0.2}
    assert sum(isinstance(m, nn.BatchNorm2d) for m in network.modules()) == 5 * 6


@pytest.mark.parametrize(
    "shape", [(16, 16), (17, 64), (31, 37), (97, 23), (8, 8), (50, 64)]
)
@pytest.mark.parametrize("padding", ["reflection", "zeros"])
@pytest.mark.parametrize("upsampling", ["bilinear", "nearest"])
def test_any_size(shape: tuple[int, int], padding: str, upsampling: str) -> None:
    depth = usable_depth(shape, 5)
    network = built(widths=(8,) * depth, padding=padding, upsampling=upsampling)

    output = network(drawn(1, 3, *shape))

    assert output.shape == (1, 2, *shape)
    assert bool(output.isfinite().all())


@pytest.mark.parametrize("shape", [(16, 16), (17, 64), (31, 37)])
@pytest.mark.parametrize("fold", [2, 3, 4])
def test_any_size_folded(shape: tuple[int, int], fold: int) -> None:
    depth = usable_depth(shape, 5, fold)
    network = built(widths=(8,) * depth, fold=fold)
    assert network(drawn(1, 3, *shape)).shape == (1, 2, *shape)


@pytest.mark.parametrize("shape", [(8, 8), (16, 16), (64, 17), (128, 128), (1000, 20)])
@pytest.mark.parametrize("fold", [1, 2])
def test_usable_depth_leaves_room_at_the_bottom(shape: tuple[int, int], fold: int) -> None:
    depth = usable_depth(shape, 9, fold)

    assert 1 <= depth <= 9
    assert depth == 1 or min(shape) // fold // 2**depth >= 2
    assert usable_depth(shape, 1, fold) == 1


def test_paper_depth_is_usable_at_its_smallest_scale() -> None:
    assert usable_depth((128, 128), 5) == 5


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-2.0, 7.0)])
def test_bounded_output_stays_within(bounds: tuple[float, float]) -> None:
    network = built(bounds=bounds)
    output = network(1000 * drawn(1, 3, 32, 32)).detach()
    assert bounds[0] <= float(output.min()) < float(output.max()) <= bounds[1]


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-1.0, 3.0), None])
@pytest.mark.parametrize("fold", [1, 2])
def test_start_at_moves_the_first_output_to_the_level(bounds: Any, fold: int) -> None:
    network = built(bounds=bounds, fold=fold)
    level = torch.tensor([0.2, 0.7])

    network.start_at(level)

    first = network(drawn(1, 3, 32, 32)).mean(dim=(0, 2, 3))
    torch.testing.assert_close(first, level, atol=0.25, rtol=0)
    network.head.weight.data.zero_()
    exact = network(drawn(1, 3, 32, 32)).mean(dim=(0, 2, 3))
    torch.testing.assert_close(exact, level, atol=1e-4, rtol=0)


def test_level_at_the_very_end_of_the_bounds_is_finite() -> None:
    network = built()
    network.start_at(torch.tensor([0.0, 1.0]))
    assert all(bool(p.isfinite().all()) for p in network.parameters())


def test_weights_depend_on_their_seed_alone() -> None:
    before = torch.random.get_rng_state()
    first, again, other = built(), built(), built()

    for network, seed in ((first, 3), (again, 3), (other, 4)):
        network.initialise(torch.Generator().manual_seed(seed))

    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(
        torch.equal(a, b)
        for a, b in zip(first.parameters(), again.parameters(), strict=True)
    )
    assert not torch.equal(first.head.weight, other.head.weight)


def test_initialise_draws_from_pytorchs_own_distribution() -> None:
    torch_default = nn.Conv2d(64, 64, 3)
    network = built(widths=(64, 64))
    ours = network.encoders[1][0][0].weight

    assert ours.shape == torch_default.weight.shape
    assert float(ours.detach().abs().max()) == pytest.approx(1 / 24, rel=0.01)
    assert float(ours.detach().std()) == pytest.approx(
        float(torch_default.weight.detach().std()), rel=0.02
    )


def test_every_parameter_takes_part() -> None:
    network = built()
    network(drawn(1, 3, 32, 32)).square().mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.abs().max() > 0), name


def test_skip_connections_may_be_left_out() -> None:
    network = built(skip_width=0)
    assert count(network) < count(built(skip_width=4))
    assert network(drawn(1, 3, 19, 23)).shape == (1, 2, 19, 23)


def test_fold_makes_the_finest_level_cheaper() -> None:
    seen: list[int] = []
    for fold in (1, 2):
        network = built(fold=fold)
        network.encoders[0][0].register_forward_hook(
            lambda _, __, output: seen.append(output.shape[-1])
        )
        network(drawn(1, 3, 64, 64))
    assert seen == [32, 16]


@pytest.mark.parametrize("padding", ["reflection", "zeros"])
def test_only_kernels_that_see_neighbours_copy_their_maps(padding: Any) -> None:
    depth = 2
    config = GeneratorConfig(in_channels=2, widths=(8,) * depth, padding=padding)
    network = Generator(config)
    network.initialise(torch.Generator().manual_seed(0))
    with torch.profiler.profile() as profile:
        network(drawn(1, 2, 32, 32))
    calls = {event.key: event.count for event in profile.key_averages()}
    padded = calls.get("aten::reflection_pad2d", 0)
    wide = [m for m in network.modules() if getattr(m, "kernel_size", None) == (3, 3)]
    assert len(wide) == 3 * depth
    assert padded == (len(wide) if padding == "reflection" else 0)
