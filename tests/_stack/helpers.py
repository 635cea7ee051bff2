"""A stack, and options with which it is the same on every machine."""

from __future__ import annotations

from typing import Any

import numpy as np

from napari_msdip import Options

OPTIONS = Options(device="cpu", precision="float32", threads=1)


def random_stack(*shape: int, dtype: str = "uint16") -> Any:
    return np.random.default_rng(0).integers(0, 60_000, shape).astype(dtype)
