from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path


def _save(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with one clean colour image and one real pair in 16 bit."""
    root = tmp_path / "data"
    rng = np.random.default_rng(0)
    colour = rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)
    _save(root / "Set9" / "flower.png", colour)
    deep = rng.integers(300, 2000, (32, 32)).astype(np.uint16)
    _save(root / "Bacteria_16bit" / "clean" / "mean.png", deep)
    _save(root / "Bacteria_16bit" / "noisy" / "frame.png", deep + np.uint16(7))
    _save(root / "FMD" / "gt" / "cells.png", colour[..., 0])
    for number in (1, 2):
        _save(root / "FMD" / "raw" / f"cells_{number}.png", colour[..., 1])
    return root
