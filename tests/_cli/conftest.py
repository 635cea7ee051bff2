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
def series(tmp_path: Path) -> Path:
    """A folder of three files, each of which says that it is a third of one stack."""
    folder = tmp_path / "series"
    folder.mkdir()
    planes = "".join(
        f'<TiffData FirstT="{n}" IFD="0" PlaneCount="1"><UUID FileName="{n}.ome.tif">'
        f"urn:uuid:{n}</UUID></TiffData>"
        for n in range(3)
    )
    for number in range(3):
        xml = (
            '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
            f'UUID="urn:uuid:{number}"><Image ID="Image:0"><Pixels ID="Pixels:0" '
            'DimensionOrder="XYZTC" Type="uint16" SizeX="24" SizeY="20" SizeZ="1" '
            'SizeC="1" SizeT="3"><Channel ID="Channel:0:0" SamplesPerPixel="1"/>'
            f"{planes}</Pixels></Image></OME>"
        )
        image = np.full((20, 24), 10 * number, np.uint16)
        tifffile.imwrite(
            folder / f"{number}.ome.tif", image, description=xml, metadata=None
        )
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(3):
        image = np.full((20, 24), 98 + number, np.uint16)
        tifffile.imwrite(folder / f"{number}.tif", image)
    return folder
