"""Layers lie where they should and keep everything that their source had."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Image, Layer

from napari_msdip._layer.axes import guess_axes, parse_axes
from napari_msdip._layer.job import Job, draft_provenance
from napari_msdip._layer.layers import (
    Source,
    adding_to,
    full_resolution_data,
    image_tuple,
    index_above,
    move,
    scale_name,
)
from napari_msdip.options import Options

AFFINE = np.array([[1.0, 0.1, 3.0], [0.0, 1.2, -2.0], [0.0, 0.0, 1.0]])


def layer_2d(data=None, **changes):
    """Return a 16-bit layer with nothing left at its default."""
    settings = {
        "name": "cells",
        "scale": (0.5, 0.25),
        "translate": (10, -20),
        "rotate": 30,
        "shear": [0.2],
        "affine": AFFINE,
        "units": ("um", "um"),
        "axis_labels": ("y", "x"),
        "colormap": "magma",
        "contrast_limits": (100, 900),
        "gamma": 0.7,
        "blending": "additive",
        "interpolation2d": "linear",
        "opacity": 0.6,
        "metadata": {"objective": "63x"},
    }
    data = np.full((24, 31), 500, np.uint16) if data is None else data
    return Image(data, **settings | changes)


def source_of(layer):
    data = full_resolution_data(layer)
    return Source.of(layer, guess_axes(data.shape, rgb=layer.rgb, labels=layer.axis_labels))


def world_corners(layer, shape):
    """Return the outer corners of the layer's pixels in world coordinates."""
    grid = [(-0.5, n - 0.5) for n in shape]
    corners = np.stack(np.meshgrid(*grid, indexing="ij"), axis=-1).reshape(-1, len(shape))
    return np.array([layer.data_to_world(corner) for corner in corners])


@pytest.mark.parametrize("shape", [(24, 31), (12, 16), (8, 11), (5, 7), (1, 1)])
def test_a_scale_covers_exactly_what_its_source_covers(shape):
    layer = layer_2d()
    source = source_of(layer)
    zoom = (24 / shape[0], 31 / shape[1])
    entry = image_tuple(source, np.zeros(shape, np.uint16), name="scale", box=(), zoom=zoom)
    scale = Layer.create(*entry)
    np.testing.assert_allclose(
        world_corners(scale, shape), world_corners(layer, (24, 31)), atol=1e-9
    )


def test_a_lower_triangular_shear_and_a_reflection_are_placed_too():
    layer = layer_2d(shear=np.array([[1, 0], [0.3, 1]]), scale=(-0.5, 0.25))
    entry = image_tuple(
        source_of(layer), np.zeros((12, 16)), name="s", box=(), zoom=(2, 31 / 16)
    )
    np.testing.assert_allclose(
        world_corners(Layer.create(*entry), (12, 16)),
        world_corners(layer, (24, 31)),
        atol=1e-9,
    )


@pytest.mark.filterwarnings("ignore:Non-orthogonal slicing")
def test_one_plane_lies_at_its_place_in_a_turned_stack():
    stack = Image(
        np.zeros((6, 24, 31), np.uint16),
        scale=(2, 0.5, 0.25),
        rotate=(20, 10, 5),
        translate=(1, 2, 3),
    )
    source = source_of(stack)
    entry = image_tuple(
        source, np.zeros((1, 12, 16), np.uint16), name="p", box=((4, 5),), zoom=(2, 31 / 16)
    )
    plane = Layer.create(*entry)
    wanted = [stack.data_to_world((4, y, x)) for y in (-0.5, 23.5) for x in (-0.5, 30.5)]
    got = [plane.data_to_world((0, y, x)) for y in (-0.5, 11.5) for x in (-0.5, 15.5)]
    np.testing.assert_allclose(got, wanted, atol=1e-9)


def test_a_plane_of_an_unusual_axis_order_is_placed_and_turned_back():
    data = np.random.default_rng(0).integers(0, 99, (8, 9, 4)).astype(np.uint8)
    layer = Image(data, axis_labels=("y", "x", "z"))
    source = Source.of(layer, parse_axes("YXZ", data.shape))
    planes = data.transpose(source.axes.order)[1:3]
    entry = image_tuple(source, planes, name="part", box=((1, 3),))
    part = Layer.create(*entry)
    np.testing.assert_array_equal(part.data, data[..., 1:3])
    np.testing.assert_allclose(part.data_to_world((0, 0, 0)), (0, 0, 1))


def test_everything_about_the_source_survives():
    layer = layer_2d()
    entry = image_tuple(
        source_of(layer), np.asarray(layer.data), name="out", box=(), provenance={"seed": 3}
    )
    out = Layer.create(*entry)
    for name in (
        "axis_labels",
        "units",
        "contrast_limits",
        "gamma",
        "opacity",
        "blending",
        "interpolation2d",
        "interpolation3d",
        "rendering",
        "rgb",
        "projection_mode",
    ):
        assert getattr(out, name) == getattr(layer, name), name
    for name in ("scale", "translate", "rotate", "shear"):
        np.testing.assert_allclose(getattr(out, name), getattr(layer, name), atol=1e-12)
    np.testing.assert_allclose(out.affine.affine_matrix, layer.affine.affine_matrix)
    np.testing.assert_array_equal(out.colormap.colors, layer.colormap.colors)
    assert out.dtype == np.uint16
    assert out.metadata == {"objective": "63x", "napari_msdip": {"seed": 3}}
    assert layer.metadata == {"objective": "63x"}


def test_a_layer_moved_to_another_lies_there_in_its_units():
    layer = layer_2d()
    other = Image(np.asarray(layer.data))
    move(other, source_of(layer).state)
    assert other.units == layer.units
    assert other.axis_labels == layer.axis_labels
    np.testing.assert_allclose(
        world_corners(other, (24, 31)), world_corners(layer, (24, 31)), atol=1e-9
    )
    heard = []
    other.events.connect(heard.append)
    move(other, source_of(layer).state)
    assert not heard


def test_a_layer_colormap_of_the_user_survives():
    layer = layer_2d(colormap={"colors": [[0, 0, 0], [0.2, 0.9, 0.4]], "name": "mine"})
    out = Layer.create(*image_tuple(source_of(layer), layer.data, name="out", box=()))
    np.testing.assert_array_equal(out.colormap.colors, layer.colormap.colors)


def test_an_older_provenance_is_not_passed_on_to_a_preview():
    layer = layer_2d(metadata={"napari_msdip": {"old": 1}, "a": 2})
    _, state, _ = image_tuple(source_of(layer), layer.data, name="out", box=())
    assert state["metadata"] == {"a": 2}


def test_rgb_stays_rgb():
    layer = Image(np.zeros((8, 9, 3), np.uint8), rgb=True, scale=(2, 3))
    entry = image_tuple(
        source_of(layer), np.zeros((4, 3, 3), np.uint8), name="s", box=(), zoom=(2, 3)
    )
    out = Layer.create(*entry)
    assert out.rgb
    np.testing.assert_allclose(world_corners(out, (4, 3)), world_corners(layer, (8, 9)))


def test_a_multiscale_layer_gives_its_finest_level():
    levels = [np.zeros((32, 32)), np.zeros((16, 16))]
    layer = Image(levels, multiscale=True)
    assert full_resolution_data(layer) is levels[0]
    entry = image_tuple(source_of(layer), levels[0], name="out", box=())
    assert not Layer.create(*entry).multiscale


def job_on(layer):
    return Job(layer.data, source_of(layer), (), Options())


def named(name, source=None):
    metadata = {} if source is None else {"napari_msdip": {"source": source}}
    return Image(np.zeros((8, 9)), name=name, metadata=metadata)


@pytest.mark.parametrize(
    ("above", "index"),
    [
        ([], 2),
        ([named("other")], 2),
        ([named("old", "cells")], 3),
        ([named("old", "cells"), named("older still", "old"), named("other")], 4),
        ([named("other"), named("old", "cells")], 2),
        ([named("of another", "other")], 2),
    ],
)
def test_a_new_layer_belongs_right_above_what_comes_from_the_same_source(above, index):
    cells = named("cells")
    layers = [named("below"), cells, *above]
    assert index_above(layers, [cells], ["cells"]) == index


def test_what_was_made_from_a_layer_is_known_after_it_was_renamed():
    cells = named("cells")
    cells.blending = "additive"
    made = Image(
        np.zeros((8, 9)), metadata={"napari_msdip": draft_provenance(job_on(cells))}
    )
    cells.name = "nuclei"
    layers = [cells, made, named("other")]
    known_as = source_of(cells).known_as
    assert adding_to(layers, "additive", known_as, ()) == [cells, made]
    assert index_above(layers, [cells], known_as) == 2
    first = made.metadata["napari_msdip"]
    assert adding_to(layers, "additive", (first["source"], first["source_id"]), ()) == [
        cells,
        made,
    ]


def test_a_new_layer_whose_source_is_gone_belongs_on_top():
    layers = [named("one"), named("two")]
    assert index_above(layers, [named("cells")], ["cells"]) == 2


def test_names_sort_as_the_scales_do():
    names = [scale_name("cells", n, (2**n, 2**n), 4) for n in range(4)]
    assert names == sorted(names)
    assert names[3] == "cells · MS-DIP · scale 3 (8×8)"


def test_names_of_many_scales_sort_too():
    names = [scale_name("cells", n, (512, 512), 13) for n in range(13)]
    assert names == sorted(names)
