"""How well are drawn structures denoised under what instruments and users do to them?

Run ``python -m benchmarks.drawings [INSTRUMENT…]``: six drawings of 192×192 pixels, from
nuclei to phase contrast, each seen by every instrument, or by those that are named. The
table gives PSNR in dB of the noisy image, of the best of BM3D at four levels, picked with
the ground truth, and of ``fast``, and the level found over the true one.
"""

from __future__ import annotations

import io
import math
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from scipy import ndimage

from benchmarks.data import Sample
from benchmarks.methods import bm3d
from benchmarks.metrics import psnr
from napari_msdip import denoise

if TYPE_CHECKING:
    from collections.abc import Callable

SIDE = 192
BM3D_FACTORS = (0.5, 1, 1.7, 3)

Rng = np.random.Generator


def nuclei(rng: Rng) -> Any:
    rows, columns = np.mgrid[:SIDE, :SIDE]
    drawn = np.zeros((SIDE, SIDE))
    for _ in range(18):
        row, column = rng.uniform(0, SIDE, 2)
        long, short = rng.uniform(7, 15, 2)
        angle = rng.uniform(0, np.pi)
        across, down = columns - column, rows - row
        along = across * np.cos(angle) + down * np.sin(angle)
        aside = down * np.cos(angle) - across * np.sin(angle)
        inside = (along / long) ** 2 + (aside / short) ** 2 < 1
        grain = 1 + 1.2 * soft(rng, 1.8)
        drawn = np.maximum(drawn, inside * rng.uniform(0.3, 0.9) * grain.clip(0.2, 2))
    return ndimage.gaussian_filter(drawn, 1.2) + 0.03


def filaments(rng: Rng) -> Any:
    drawn = np.zeros((SIDE, SIDE))
    for _ in range(22):
        place = rng.uniform(0, SIDE, 2)
        heading, brightness = rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 1)
        for _ in range(3 * SIDE):
            heading += rng.normal(0, 0.05)
            place = place + 0.5 * np.array([np.sin(heading), np.cos(heading)])
            row, column = np.round(place).astype(int)
            if not (0 <= row < SIDE and 0 <= column < SIDE):
                break
            drawn[row, column] = max(drawn[row, column], brightness)
    blurred = ndimage.gaussian_filter(drawn, 1.3)
    return blurred / blurred.max() + 0.04


def membranes(rng: Rng) -> Any:
    rows, columns = np.mgrid[:SIDE, :SIDE]
    centres = rng.uniform(0, SIDE, (40, 2))
    distances = np.sort([np.hypot(rows - y, columns - x) for y, x in centres], axis=0)
    walls = 0.8 * np.exp(-(((distances[1] - distances[0]) / 3) ** 2))
    drawn = walls + 0.1 + 0.8 * soft(rng, 8)
    return ndimage.gaussian_filter(drawn, 1).clip(0.02)


def spots(rng: Rng) -> Any:
    drawn = np.zeros((SIDE, SIDE))
    for _ in range(150):
        row, column = rng.integers(0, SIDE, 2)
        drawn[row, column] += rng.lognormal(0, 0.6)
    blurred = ndimage.gaussian_filter(drawn, 1.3)
    return blurred / blurred.max() + 0.08 * (1 + 12 * soft(rng, 15)).clip(0.1)


def tissue(rng: Rng) -> Any:
    patches = soft(rng, 3)
    patches = (patches - patches.min()) / np.ptp(patches)
    drawn = np.where(patches > 0.55, patches, 0.35 * patches)
    return ndimage.gaussian_filter(drawn + 0.2 * (soft(rng, 1.3) > 0.12), 1)


def phase_contrast(rng: Rng) -> Any:
    rows, columns = np.mgrid[:SIDE, :SIDE]
    drawn = np.full((SIDE, SIDE), 0.5)
    for _ in range(14):
        row, column = rng.uniform(0, SIDE, 2)
        edge = np.hypot(rows - row, columns - column) - rng.uniform(8, 16)
        drawn += 0.25 * np.exp(-((edge / 2) ** 2))
        drawn -= 0.2 * np.exp(-(((edge + 5) / 2.5) ** 2))
    return ndimage.gaussian_filter(drawn, 0.8).clip(0.02)


def soft(rng: Rng, width: float) -> Any:
    return ndimage.gaussian_filter(rng.normal(size=(SIDE, SIDE)), width)


def counted(clean: Any, rng: Rng) -> Any:
    return rng.poisson(clean).astype(float)


def sensor(photons: float, rows: float = 0.0, columns: float = 0.0) -> Any:
    """A camera of 2.1 counts a photon, whose pixels, or lines, differ."""

    def see(drawing: Any, rng: Rng) -> tuple[Any, Any]:
        if rows or columns:
            read = np.full(drawing.shape, 1.6)
        else:
            read = rng.lognormal(0.4, 0.5, drawing.shape)
        seen = counted(photons * drawing, rng) + read * rng.normal(size=drawing.shape)
        if rows:
            seen += rng.normal(0, rows, (SIDE, 1))
        if columns:
            seen += rng.normal(0, columns, (1, SIDE))
        return 100 + 2.1 * seen, 100 + 2.1 * photons * drawing

    return see


def photomultiplier(drawing: Any, rng: Rng) -> tuple[Any, Any]:
    """Twelve photons of 18 counts, in 8 bits, with a part of the background cut off."""
    noisy = 18 * counted(12 * drawing, rng) + rng.normal(0, 6, drawing.shape) - 4
    return noisy.round().clip(0, 255), (18 * 12 * drawing - 4).clip(0)


def multiplying_register(drawing: Any, rng: Rng) -> tuple[Any, Any]:
    counts = rng.poisson(25 * drawing)
    electrons = np.where(counts > 0, rng.gamma(np.maximum(counts, 1e-9), 1), 0)
    noise = rng.normal(0, 8, drawing.shape)
    return 300 + 20 * electrons + noise, 300 + 20 * 25 * drawing


def processed(photons: float, process: Callable[[Any], Any], every: int = 1) -> Any:
    """Photons in every pixel, or every second, and what some processing makes of them."""

    def see(drawing: Any, rng: Rng) -> tuple[Any, Any]:
        clean = photons * drawing[::every, ::every]
        return process(counted(clean, rng)), process(clean)

    return see


def averaged(drawing: Any, rng: Rng) -> tuple[Any, Any]:
    frames = [counted(40 * drawing, rng) for _ in range(8)]
    return 16 * np.mean(frames, axis=0), 16 * 40 * drawing


def white(drawing: Any, rng: Rng) -> tuple[Any, Any]:
    return 1000 * drawing + rng.normal(0, 60, drawing.shape), 1000 * drawing


def compressed(drawing: Any, rng: Rng) -> tuple[Any, Any]:
    noisy = (3 * counted(60 * drawing, rng)).clip(0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(noisy).save(file, "jpeg", quality=85)
    return np.asarray(Image.open(file), float), 180 * drawing


def sharpened(image: Any) -> Any:
    return 2 * image - ndimage.gaussian_filter(image, 1.5)


def blurred(width: float) -> Any:
    return lambda image: ndimage.gaussian_filter(image, width)


def enlarged(factor: float, order: int = 1) -> Any:
    return lambda image: ndimage.zoom(image, factor, order=order)[:SIDE, :SIDE]


def turned(image: Any) -> Any:
    return ndimage.rotate(image, 7, reshape=False, order=1, mode="reflect")


def smoothed(image: Any) -> Any:
    return ndimage.uniform_filter(image, 3)


def despeckled(image: Any) -> Any:
    return ndimage.median_filter(image, 3)


DRAWINGS = (nuclei, filaments, membranes, spots, tissue, phase_contrast)
INSTRUMENTS: dict[str, Callable[[Any, Rng], tuple[Any, Any]]] = {
    "sensor-60": sensor(60),
    "sensor-12": sensor(12),
    "rows": sensor(60, rows=1.5),
    "columns": sensor(200, columns=4),
    "photomultiplier": photomultiplier,
    "multiplying": multiplying_register,
    "sharpened": processed(200, sharpened),
    "blurred-0.5": processed(60, blurred(0.5)),
    "blurred-0.8": processed(60, blurred(0.8)),
    "blurred-1.2": processed(60, blurred(1.2)),
    "averaged": averaged,
    "white": white,
    "jpeg": compressed,
    "twice-as-large": processed(60, enlarged(2), every=2),
    "enlarged-1.3": processed(60, enlarged(1.3)),
    "turned": processed(60, turned),
    "twice-cubic": processed(60, enlarged(2, order=3), every=2),
    "smoothed": processed(60, smoothed),
    "despeckled": processed(60, despeckled),
}


def seen(instrument: str, drawing: Callable[[Rng], Any]) -> tuple[Any, Any]:
    """Return the noisy image and the clean one, the same ones every time."""
    seed = 1000 * list(INSTRUMENTS).index(instrument) + DRAWINGS.index(drawing)
    rng = np.random.default_rng(seed)
    drawn = drawing(rng)
    noisy, clean = INSTRUMENTS[instrument](drawn / drawn.max(), rng)
    return noisy.astype(np.float32), clean


def rms(values: Any) -> float:
    return math.sqrt(np.mean(np.square(values)))


def best_bm3d(sample: Sample, level: float) -> float:
    tried = [bm3d(sample, factor * level) for factor in BM3D_FACTORS]
    return max(psnr(image, sample.clean, sample.data_range) for image in tried)


def main() -> None:
    names = sys.argv[1:] or list(INSTRUMENTS)
    unknown = ", ".join(name for name in names if name not in INSTRUMENTS)
    if unknown:
        raise SystemExit(f"{unknown}: choose among {', '.join(INSTRUMENTS)}")
    print("| instrument | drawing | noisy | BM3D best | `fast` | level |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in names:
        for drawing in DRAWINGS:
            noisy, clean = seen(name, drawing)
            extent, level = float(np.ptp(clean)), rms(noisy - clean)
            result = denoise(noisy)
            values = (
                psnr(noisy, clean, extent),
                best_bm3d(Sample(noisy, clean, extent, level, bounded=False), level),
                psnr(result.image, clean, extent),
            )
            cells = " | ".join(f"{value:.1f}" for value in values)
            found = float(np.mean(result.sigma)) / level
            print(f"| {name} | {drawing.__name__} | {cells} | {found:.2f} |", flush=True)


if __name__ == "__main__":
    main()
