"""Fixtures for the command line: a fake engine, and files to give it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile
from tests._cli.helpers import FakeEngine

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def fake() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def image_file(tmp_path: Path) -> Path:
    path = tmp_path / "cells.tif"
    tifffile.imwrite(
        path,
        np.full((20, 24), 100, np.uint16),
        imagej=True,
        resolution=(10, 10),
        metadata={"unit": "um"},
    )
    return path


@pytest.fixture
def stack_file(tmp_path: Path) -> Path:
    path = tmp_path / "stack.ome.tif"
    planes = np.arange(6, dtype=np.uint16)[:, None, None] * 10 + np.zeros((20, 24))
    tifffile.imwrite(
        path,
        planes.astype(np.uint16),
        ome=True,
        photometric="minisblack",
        metadata={"axes": "ZYX", "PhysicalSizeZ": 0.5, "PhysicalSizeX": 0.1},
    )
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(3):
        image = np.full((20, 24), 98 + number, np.uint16)
        tifffile.imwrite(folder / f"{number}.tif", image)
    return folder
