"""Noisy images whose truth is known, for napari's File > Open Sample.

Everything is made on the spot or shipped inside scikit-image, so that no sample
needs a download.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

__all__ = ["cells", "photograph", "stack"]

LayerTuple = tuple[Any, dict[str, Any], str]
Float = npt.NDArray[np.float64]


def cells(size: int = 384, seed: int = 0) -> list[LayerTuple]:
    """Return fluorescent cells as a 16-bit camera sees them in dim light.

    Parameters
    ----------
    size : int
        Height and width in pixels.
    seed : int
        Same seed, same cells and noise.

    Returns
    -------
    list of layer data tuples
        The clean truth, hidden, and the noisy image: uint16, (Y, X), in µm.
    """
    random = np.random.default_rng(seed)
    photons = 4 + 60 * _cells(random, size)
    clean, noisy = _camera(photons, random)
    space = {"scale": (0.108, 0.108), "units": ("um", "um"), "axis_labels": ("y", "x")}
    limits = {"contrast_limits": (90.0, float(np.percentile(noisy, 99.9)))}
    common = space | limits | {"colormap": "gray"}
    return [
        (clean, common | {"name": "cells (truth)", "visible": False}, "image"),
        (noisy, common | {"name": "cells"}, "image"),
    ]


def photograph(size: int = 256, sigma: float = 25.0, seed: int = 0) -> list[LayerTuple]:
    """Return a colour photograph under Gaussian noise.

    Parameters
    ----------
    size : int
        Height and width of the crop in pixels, at most 432.
    sigma : float
        Standard deviation of the noise, in 8-bit grey levels.
    seed : int
        Same seed, same noise.

    Returns
    -------
    list of layer data tuples
        The clean truth, hidden, and the noisy image: uint8, (Y, X, 3).
    """
    from skimage.data import astronaut

    random = np.random.default_rng(seed)
    clean = astronaut()[:size, 80 : 80 + size]
    noise = random.normal(0, sigma, clean.shape)
    noisy = np.clip(np.rint(clean + noise), 0, 255).astype(np.uint8)
    return [
        (clean, {"name": "photograph (truth)", "rgb": True, "visible": False}, "image"),
        (noisy, {"name": "photograph", "rgb": True}, "image"),
    ]


def stack(shape: tuple[int, int, int] = (12, 160, 160), seed: int = 0) -> list[LayerTuple]:
    """Return a confocal Z-stack of nuclei in dim light.

    Parameters
    ----------
    shape : tuple of int
        (Z, Y, X) in pixels.
    seed : int
        Same seed, same nuclei and noise.

    Returns
    -------
    list of layer data tuples
        The clean truth, hidden, and the noisy stack: uint16, (Z, Y, X), in µm,
        the steps in Z four times the pixel size.
    """
    random = np.random.default_rng(seed)
    photons = 3 + 40 * _nuclei(random, shape)
    clean, noisy = _camera(photons, random)
    common = {
        "scale": (0.8, 0.2, 0.2),
        "units": ("um", "um", "um"),
        "axis_labels": ("z", "y", "x"),
        "contrast_limits": (90.0, float(np.percentile(noisy, 99.9))),
        "colormap": "gray",
    }
    return [
        (clean, common | {"name": "nuclei (truth)", "visible": False}, "image"),
        (noisy, common | {"name": "nuclei"}, "image"),
    ]


def _camera(
    photons: Float, random: np.random.Generator
) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint16]]:
    """Return what a camera with offset, gain and read noise makes of photons.

    Returns
    -------
    tuple of ndarray
        The expected image and one noisy exposure, both uint16.
    """
    offset, gain, read_noise = 100.0, 12.0, 15.0
    exposure = gain * random.poisson(photons) + random.normal(0, read_noise, photons.shape)
    clean = np.rint(offset + gain * photons)
    noisy = np.clip(np.rint(offset + exposure), 0, 2**16 - 1)
    return clean.astype(np.uint16), noisy.astype(np.uint16)


def _cells(random: np.random.Generator, size: int) -> Float:
    """Return cells with a nucleus, fibres and bright spots, from 0 to about 1."""
    field = np.zeros((size, size))
    grid = np.indices((size, size)).astype(float)
    fibres = _fibres(random, size)
    step = size / 3.2
    for row in np.arange(step / 2, size, step):
        for column in np.arange(step / 2, size, step):
            centre = np.array([row, column]) + random.normal(0, step / 8, 2)
            body = _blob(grid, centre, step * random.uniform(0.36, 0.5, 2), random)
            nucleus = _blob(grid, centre, step * random.uniform(0.14, 0.2, 2), random)
            inside = body * (0.12 + 0.55 * fibres) * (1 - 0.85 * nucleus) + 0.4 * nucleus
            field = np.maximum(field, inside)
            spots = centre[:, None] + random.normal(0, step / 5, (2, 14))
            for spot in spots.T:
                squared = ((grid - spot[:, None, None]) ** 2).sum(axis=0)
                field += 0.5 * body * np.exp(-squared / (2 * 1.3**2))
    return np.asarray(ndimage.gaussian_filter(field, 0.8))


def _fibres(random: np.random.Generator, size: int) -> Float:
    """Return a mesh of thin curved lines: where smooth random fields are near zero."""
    mesh = np.zeros((size, size))
    for width in (9.0, 14.0, 20.0):
        field = ndimage.gaussian_filter(random.normal(size=(size, size)), width)
        slope = np.hypot(*np.gradient(field)) + 1e-12
        mesh = np.maximum(mesh, np.exp(-((field / slope) ** 2) / (2 * 1.1**2)))
    return mesh


def _blob(grid: Float, centre: Float, radii: Float, random: np.random.Generator) -> Float:
    """Return an ellipse, turned and with a soft edge, from 0 to 1."""
    angle = random.uniform(0, np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    offsets = np.tensordot(turn, grid - centre[:, None, None], axes=1)
    distance = np.sqrt(((offsets / radii[:, None, None]) ** 2).sum(axis=0))
    return np.asarray(1 / (1 + np.exp((distance - 1) * 14)))


def _nuclei(random: np.random.Generator, shape: tuple[int, int, int]) -> Float:
    """Return textured ellipsoids, blurred more along Z than across, from 0 to 1."""
    volume = np.zeros(shape)
    grid = np.indices(shape).astype(float)
    texture = ndimage.gaussian_filter(random.normal(size=shape), (0.8, 2.2, 2.2))
    texture = 0.75 + 0.25 * texture / np.abs(texture).max()
    for _ in range(30):
        centre = random.uniform(0, 1, 3) * shape
        radii = random.uniform(0.7, 1.2) * np.array([2.6, 12.0, 12.0])
        squared = ((grid - centre[:, None, None, None]) / radii[:, None, None, None]) ** 2
        distance = np.sqrt(squared.sum(axis=0))
        brightness = random.uniform(0.4, 1.0)
        volume = np.maximum(volume, brightness / (1 + np.exp((distance - 1) * 10)))
    return np.asarray(ndimage.gaussian_filter(volume * texture, (1.0, 1.0, 1.0)))
