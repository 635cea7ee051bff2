"""Does ``assess`` tell good denoisers from deliberately bad ones?

Run ``python -m benchmarks.trust``; docs/trust.md holds the table it writes. The
limits in ``napari_msdip.quality`` were chosen on it.
"""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import ndimage
from skimage import color, data, img_as_float, restoration

from napari_msdip.quality import assess

if TYPE_CHECKING:
    from collections.abc import Iterator

IMAGES = (
    "astronaut camera coffee chelsea rocket moon brick coins grass gravel page "
    "microaneurysms hubble_deep_field"
).split()
SIDE = 192
RANGE = 255.0


def clean_image(name: str) -> Any:
    image = img_as_float(getattr(data, name)())
    gray = color.rgb2gray(image[..., :3]) if image.ndim == 3 else image
    if min(gray.shape) < SIDE:
        return None
    top, left = ((size - SIDE) // 2 for size in gray.shape)
    return gray[top : top + SIDE, left : left + SIDE] * RANGE


def noisy_images(clean: Any) -> Iterator[tuple[str, Any, float]]:
    """Yield (kind, image, level) for white, shot and correlated noise."""
    rng = np.random.default_rng(0)
    for sigma in (10.0, 25.0, 50.0):
        yield f"white {sigma:.0f}", clean + sigma * rng.normal(size=clean.shape), sigma
    gain = RANGE / 40
    shot = rng.poisson(clean / gain) * gain + 5 * rng.normal(size=clean.shape)
    yield "shot", shot, float(np.std(shot - clean))
    field = ndimage.gaussian_filter(rng.normal(size=clean.shape), 0.8)
    yield "correlated 20", clean + 20 * field / field.std(), 20.0


def denoised_images(clean: Any, noisy: Any, sigma: float) -> Iterator[tuple[str, Any]]:
    """Yield (name, image): first what deserves trust, then what does not."""
    good = restoration.denoise_nl_means(
        noisy, patch_size=5, patch_distance=5, h=0.7 * sigma, sigma=sigma
    )
    yield "the clean image", clean
    yield "non-local means", good
    bm3d = _bm3d(noisy, sigma)
    if bm3d is not None:
        yield "BM3D", bm3d
        good = bm3d
    yield "a quarter of the noise left", 0.25 * noisy + 0.75 * good
    yield "half of the noise left", 0.5 * noisy + 0.5 * good
    yield "unchanged", noisy.copy()
    yield "Gaussian blur 1 px", ndimage.gaussian_filter(noisy, 1)
    yield "Gaussian blur 2 px", ndimage.gaussian_filter(noisy, 2)
    yield "Gaussian blur 4 px", ndimage.gaussian_filter(noisy, 4)
    yield "median 7 x 7", ndimage.median_filter(noisy, 7)
    yield (
        "total variation, too strong",
        restoration.denoise_tv_chambolle(noisy, weight=2 * sigma),
    )
    yield "good + 1 % offset", good + 0.01 * RANGE
    yield "good + 3 % offset", good + 0.03 * RANGE
    yield "good x 1.05", good * 1.05
    yield "good, gamma 0.9", RANGE * (np.clip(good, 0, RANGE) / RANGE) ** 0.9


def _bm3d(noisy: Any, sigma: float) -> Any:
    try:
        import bm3d
    except ImportError:
        return None
    return bm3d.bm3d(noisy, sigma)


def judged(name: str) -> list[dict[str, Any]]:
    clean = clean_image(name)
    if clean is None:
        return []
    rows = []
    for kind, noisy, sigma in noisy_images(clean):
        error = np.mean((noisy - clean) ** 2)
        for denoiser, image in denoised_images(clean, noisy, sigma):
            report = assess(noisy, image)
            after = max(float(np.mean((image - clean) ** 2)), 1e-9)
            rows.append(
                {
                    "image": name,
                    "noise": kind,
                    "denoiser": denoiser,
                    "verdict": report.verdict.value,
                    "gain": 10 * np.log10(error / after),
                    **report.numbers,
                }
            )
    return rows


def main() -> None:
    with ProcessPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
        rows = [row for part in pool.map(judged, IMAGES) for row in part]
    table = pd.DataFrame(rows)
    table.to_csv("trust.csv", index=False)
    counts = pd.crosstab(table.denoiser, table.verdict)
    columns = ["edge_excess", "removed_excess", "noise_left", "block_shift"]
    numbers = table.groupby("denoiser")[columns]
    for part in (counts, numbers.quantile(0.1), numbers.median(), numbers.quantile(0.9)):
        print(part.loc[table.denoiser.unique()].round(3).to_string())


if __name__ == "__main__":
    main()
