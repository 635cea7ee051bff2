"""Feature extractors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.vgg import caffe_arrays, drawn, state_dict, torchvision_stack, written_npz

from napari_msdip.features import VGG_LAYERS, DerivativeBank, Vgg16Features, vgg16_maps
from napari_msdip.vgg_weights import load_vgg16

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

# Position behind each layer's ReLU in torchvision's stack.
ENDS = {"relu1_2": 4, "relu2_2": 9, "relu3_3": 16}
CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.mark.parametrize("layer", list(VGG_LAYERS))
def test_state_dict_gives_torchvisions_features(tmp_path: Path, layer: str) -> None:
    path = tmp_path / "vgg16.pth"
    torch.save(state_dict(1), path)
    image = drawn(1, 3, 24, 20)

    found = Vgg16Features(load_vgg16(path), layer)(image)

    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (MEAN, STD))
    stack = torchvision_stack(1)[: ENDS[layer]]
    torch.testing.assert_close(found, stack((image - mean) / std).detach())


@pytest.mark.parametrize("layer", list(VGG_LAYERS))
def test_npz_gives_the_original_networks_features(tmp_path: Path, layer: str) -> None:
    image = drawn(1, 3, 24, 20)

    found = Vgg16Features(load_vgg16(written_npz(tmp_path, 1)), layer)(image)

    mean = torch.tensor(CAFFE_MEAN_BGR).view(1, 3, 1, 1)
    stack = torchvision_stack(1)[: ENDS[layer]]
    expected = stack(255 * image.flip(1) - mean).detach()
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def test_both_formats_of_one_network_give_the_same_features(tmp_path: Path) -> None:
    """Write a network in the original convention, and in torchvision's after conversion."""
    arrays, state = caffe_arrays(2), state_dict(2)
    kernel = arrays["conv1_1.weight"][:, ::-1]
    shift = 255 * np.array(MEAN, np.float32) - np.array(CAFFE_MEAN_BGR[::-1], np.float32)
    state["features.0.weight"] = torch.from_numpy(
        kernel * 255 * np.array(STD, np.float32)[:, None, None]
    )
    state["features.0.bias"] = torch.from_numpy(
        arrays["conv1_1.bias"] + (kernel * shift[:, None, None]).sum(axis=(1, 2, 3))
    )
    torch.save(state, tmp_path / "vgg16.pth")
    image = drawn(1, 3, 24, 20)

    one = Vgg16Features(load_vgg16(written_npz(tmp_path, 2)), "relu1_2")(image)
    other = Vgg16Features(load_vgg16(tmp_path / "vgg16.pth"), "relu1_2")(image)

    # Zero padding stands for another colour in each convention.
    inner = (..., slice(2, -2), slice(2, -2))
    torch.testing.assert_close(one[inner], other[inner], rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize(
    ("layer", "maps", "shape"),
    [("relu1_2", 64, (24, 21)), ("relu2_2", 128, (12, 10)), ("relu3_3", 256, (6, 5))],
)
@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_any_number_of_channels(
    tmp_path: Path, layer: str, maps: int, shape: tuple[int, int], channels: int
) -> None:
    weights = load_vgg16(written_npz(tmp_path, 1))
    features = Vgg16Features(weights, layer)(drawn(1, channels, 24, 21))
    assert features.shape == (1 if channels == 3 else channels, maps, *shape)
    assert float(features.min()) >= 0


def test_gray_is_looked_at_as_an_rgb_image_without_colour(tmp_path: Path) -> None:
    network = Vgg16Features(load_vgg16(written_npz(tmp_path, 1)))
    gray = drawn(1, 1, 16, 16)
    torch.testing.assert_close(network(gray), network(gray.expand(-1, 3, -1, -1)))


def test_channels_are_looked_at_one_by_one(tmp_path: Path) -> None:
    network = Vgg16Features(load_vgg16(written_npz(tmp_path, 1)))
    image = drawn(1, 2, 16, 16)
    torch.testing.assert_close(
        network(image)[1:], network(image[:, 1:]), rtol=1e-4, atol=1e-2
    )


def test_network_is_frozen_and_passes_gradients_on(tmp_path: Path) -> None:
    network = Vgg16Features(load_vgg16(written_npz(tmp_path, 1)))
    image = drawn(1, 3, 16, 16).requires_grad_()
    network(image).sum().backward()

    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert image.grad is not None
    assert float(image.grad.abs().max()) > 0


@pytest.mark.parametrize("layer", list(VGG_LAYERS))
def test_maps_are_those_kept_for_gradients_and_three_of_the_features(
    tmp_path: Path, layer: str
) -> None:
    network = Vgg16Features(load_vgg16(written_npz(tmp_path, 0)), layer)
    kept = {}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.shape[-1] > 3:
            kept[tensor.data_ptr()] = tensor.numel() * tensor.element_size() / 4
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        found = network(drawn(1, 3, 16, 16).requires_grad_())
    numbers = sum(kept.values()) + 3 * found.numel()
    assert vgg16_maps(layer) * 16**2 == pytest.approx(numbers)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("shape", [(4, 4), (17, 9)])
def test_bank_needs_no_weights(channels: int, shape: tuple[int, int]) -> None:
    bank = DerivativeBank()
    features = bank(drawn(1, channels, *shape))

    assert features.shape == (1, channels * (1 + 2 * len(bank.widths)), *shape)
    assert not list(bank.parameters())
    assert bool(features.isfinite().all())


def test_bank_sees_brightness_and_edges() -> None:
    bank = DerivativeBank()
    flat = torch.full((1, 1, 16, 16), 0.3)
    edge = flat.clone()
    edge[..., 8:] = 0.8

    brightness, *derivatives = bank(flat)[0]
    torch.testing.assert_close(brightness, flat[0, 0])
    assert all(float(d.abs().max()) < 1e-6 for d in derivatives)
    across, down = bank(edge)[0, 1], bank(edge)[0, 2]
    assert float(across[:, 6:10].abs().max()) > 0.1
    assert float(down.abs().max()) < 1e-6


def test_bank_tells_a_blurred_image_from_a_sharp_one() -> None:
    bank = DerivativeBank()
    sharp = (drawn(1, 1, 32, 32) > 0.5).float()
    blurred = F.avg_pool2d(F.pad(sharp, (2,) * 4, mode="replicate"), 5, 1)
    assert float((bank(sharp) - bank(blurred)).square().mean()) > 1e-3
