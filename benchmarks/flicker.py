"""Do intensities flicker from plane to plane more than in the noisy stack?

Run ``python -m benchmarks.flicker FOLDER [PRESET]`` on a folder with repeats of one
field named ``<field>_1.png``, ``<field>_2.png``, …, or on a TIFF stack of a static
scene. Every plane is denoised on its own; the table gives the standard deviation over
the repeats of the mean of the image and of its blocks of 16 to 128 pixels. A lamp that
flickers is no noise and has to stay, so the last column is the ratio after every frame,
noisy or denoised, was scaled to the mean of all.
"""

from __future__ import annotations

import re
import sys
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from skimage import io

from napari_msdip import Options, denoise_stack

SIDE = 256
REPEAT = re.compile(r"(.+)_(\d+)")


def stacks(path: Path) -> dict[str, Any]:
    """Return central crops of static series, (T, Y, X), by name."""
    if path.is_file():
        return {path.stem: centre(path)}
    matches = [(REPEAT.fullmatch(file.stem), file) for file in path.glob("*.png")]
    repeats = sorted((match[1], int(match[2]), file) for match, file in matches if match)
    return {
        name: np.stack([centre(file) for *_, file in group])
        for name, group in groupby(repeats, key=itemgetter(0))
    }


def centre(file: Path) -> Any:
    """Read a file's frames, (…, Y, X), and cut their centres out."""
    frames = io.imread(file)
    high, wide = frames.shape[-2:]
    if min(high, wide) < SIDE:
        raise ValueError(f"{file}: frames of {high}×{wide} pixels, less than {SIDE}×{SIDE}")
    top, left = (high - SIDE) // 2, (wide - SIDE) // 2
    return frames[..., top : top + SIDE, left : left + SIDE]


def flicker(series: Any, side: int) -> float:
    """Return the variation over time of block means, root mean square over blocks."""
    count = SIDE // side
    cut = series[:, : count * side, : count * side].astype(float)
    means = cut.reshape(len(cut), count, side, count, side).mean(axis=(2, 4))
    return float(np.sqrt(means.var(axis=0, ddof=1).mean()))


def steadied(series: Any) -> Any:
    """Return the series without changes of brightness of whole frames."""
    means = series.mean(axis=(1, 2), keepdims=True)
    return series * (means.mean() / means)


def main() -> None:
    options = Options.preset(sys.argv[2] if len(sys.argv) > 2 else "fast")
    print("| series | blocks | noisy | denoised | ratio | ratio, same brightness |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, series in stacks(Path(sys.argv[1])).items():
        denoised = denoise_stack(series, options).image
        for side in (16, 32, 64, 128, SIDE):
            before, after = flicker(series, side), flicker(denoised, side)
            row = f"| {name} | {side} | {before:.3f} | {after:.3f} | {after / before:.2f} |"
            if side < SIDE:
                steady = flicker(steadied(denoised), side) / flicker(steadied(series), side)
                row += f" {steady:.2f} |"
            print(row, flush=True)


if __name__ == "__main__":
    main()
