from __future__ import annotations

import errno
import os
import re
import struct
import zlib
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile
import zarr

from napari_msdip import io
from napari_msdip.io import FileError, Metadata

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

RNG = np.random.default_rng(0)


def pixels(*shape: int, dtype: str = "uint16") -> np.ndarray:
    return RNG.integers(0, 200, shape).astype(dtype)


def copy(path: Path, target: Path, **arguments) -> None:
    with io.open_image(path) as source:
        io.save_image(target, source.data, source.metadata, alpha=source.alpha, **arguments)


def metadata_of(path: Path) -> Metadata:
    with io.open_image(path) as source:
        return source.metadata


def read(path: Path) -> np.ndarray:
    with io.open_image(path) as source:
        return np.asarray(source.data)


OME = {
    "axes": "CZYX",
    "PhysicalSizeX": 0.065,
    "PhysicalSizeXUnit": "µm",
    "PhysicalSizeY": 65.0,
    "PhysicalSizeYUnit": "nm",
    "PhysicalSizeZ": 0.3,
    "PhysicalSizeZUnit": "µm",
    "Channel": {
        "Name": ["DAPI", "β-tubulin"],
        "Color": [65535, 16711935],
        "EmissionWavelength": [450.0, 520.0],
    },
}


@pytest.fixture
def ome_file(tmp_path: Path) -> Path:
    path = tmp_path / "in.ome.tif"
    tifffile.imwrite(path, pixels(2, 5, 20, 24), ome=True, metadata=OME)
    return path


@pytest.fixture
def imagej_file(tmp_path: Path) -> Path:
    path = tmp_path / "in.tif"
    tifffile.imwrite(
        path,
        pixels(3, 4, 20, 24),
        imagej=True,
        resolution=(1 / 0.1, 1 / 0.2),
        metadata={
            "axes": "TZYX",
            "unit": "um",
            "spacing": 0.5,
            "finterval": 2.5,
            "Labels": [f"plane {k}" for k in range(12)],
            "Info": "laser 5 %",
        },
    )
    return path


def composite(path: Path, *, n_channels: int = 2, dtype: str = "uint16") -> None:
    """Write channels of ImageJ in pink and in inverted gray, shown from 3 and from 5."""
    ramp = np.arange(256, dtype=np.uint8)
    tables = [np.stack([ramp, 0 * ramp, ramp // 2 + 1]), np.stack([ramp[::-1]] * 3)]
    metadata = {
        "axes": "CYX",
        "mode": "composite",
        "LUTs": tables,
        "Ranges": (3.0, 90.0, 5.0, 70.0),
    }
    image = pixels(n_channels, 20, 24, dtype=dtype)
    tifffile.imwrite(path, image, imagej=True, photometric="minisblack", metadata=metadata)


def rewritten_planes(
    tmp_path: Path, axes: str, rewrite: Callable[[list[str]], list[str]]
) -> list[str]:
    """Return where planes lie in a copy of a file that tells of them otherwise."""
    shape = tuple({"C": 2, "Z": 3, "Y": 20, "X": 24}[letter] for letter in axes)
    metadata = {"axes": axes, "Plane": {"PositionZ": [float(p) for p in range(6)]}}
    tifffile.imwrite(tmp_path / "in.ome.tif", pixels(*shape), metadata=metadata)
    xml = tifffile.tiffcomment(tmp_path / "in.ome.tif")
    planes = re.findall("<Plane .*?/>", xml)
    xml = xml.replace("".join(planes), "".join(rewrite(planes)))
    tifffile.tiffcomment(tmp_path / "in.ome.tif", xml.encode())

    copy(tmp_path / "in.ome.tif", tmp_path / "out.ome.tif")

    copied = tifffile.tiffcomment(tmp_path / "out.ome.tif")
    planes = re.findall("<Plane .*?/>", copied)
    return ["".join(re.findall('PositionZ="(.*?)"', plane)) for plane in planes]


class TestOmeTiff:
    def test_reads_sizes_units_axes_and_channels(self, ome_file: Path) -> None:
        found = metadata_of(ome_file)

        assert found.axes == "CZYX"
        assert found.scale == {"X": 0.065, "Y": 65.0, "Z": 0.3}
        assert found.units == {"X": "µm", "Y": "nm", "Z": "µm"}
        assert found.channel_names == ("DAPI", "β-tubulin")

    def test_copy_keeps_everything(self, ome_file: Path, tmp_path: Path) -> None:
        copy(ome_file, tmp_path / "out.tif")

        assert metadata_of(tmp_path / "out.tif") == metadata_of(ome_file)
        np.testing.assert_array_equal(read(tmp_path / "out.tif"), read(ome_file))
        with tifffile.TiffFile(tmp_path / "out.tif") as tif:
            assert tif.is_ome
            assert 'EmissionWavelength="450.0"' in tif.ome_metadata

    def test_stacks_are_read_lazily(self, ome_file: Path) -> None:
        with io.open_image(ome_file) as source:
            assert isinstance(source.data, zarr.Array)

    def test_goes_to_zarr_and_back(self, ome_file: Path, tmp_path: Path) -> None:
        copy(ome_file, tmp_path / "there.ome.zarr")
        copy(tmp_path / "there.ome.zarr", tmp_path / "back.ome.tif")

        there, before = metadata_of(tmp_path / "back.ome.tif"), metadata_of(ome_file)
        assert (there.axes, there.scale, there.units, there.channel_names) == (
            before.axes,
            before.scale,
            before.units,
            before.channel_names,
        )

    @pytest.mark.parametrize(
        ("dtype", "bits"), [("uint16", ["12"]), ("uint8", []), ("float32", [])]
    )
    def test_significant_bits_are_those_of_the_dtype(
        self, tmp_path: Path, dtype: str, bits: list[str]
    ) -> None:
        metadata = {"axes": "YX", "SignificantBits": 12}
        tifffile.imwrite(tmp_path / "in.ome.tif", pixels(20, 24), metadata=metadata)

        with io.open_image(tmp_path / "in.ome.tif") as source:
            image = np.asarray(source.data).astype(dtype)
            io.save_image(tmp_path / "out.ome.tif", image, source.metadata)

        xml = tifffile.tiffcomment(tmp_path / "out.ome.tif")
        assert re.findall('SignificantBits="(.*?)"', xml) == bits

    @pytest.mark.parametrize("axes", ["CZYX", "ZCYX"])
    def test_plane_positions_go_by_their_numbers(self, tmp_path: Path, axes: str) -> None:
        positions = rewritten_planes(
            tmp_path, axes, lambda planes: [*planes[3:], *planes[:3]]
        )

        assert positions == ["0.0", "1.0", "2.0", "3.0", "4.0", "5.0"]

    def test_plane_positions_that_some_planes_lack_are_kept_of_the_others(
        self, tmp_path: Path
    ) -> None:
        def without_two(planes: list[str]) -> list[str]:
            nowhere = re.sub("PositionZ=.*?/", "/", planes[1])
            return [planes[0], nowhere, *planes[2:5]]

        positions = rewritten_planes(tmp_path, "CZYX", without_two)

        assert positions == ["0.0", "", "2.0", "3.0", "4.0", ""]

    def test_plane_positions_that_contradict_each_other_are_left_out(
        self, tmp_path: Path
    ) -> None:
        positions = rewritten_planes(
            tmp_path, "CZYX", lambda planes: [planes[0].replace("0.0", "9.0"), *planes]
        )

        assert positions == []

    def test_what_one_channel_lacks_is_kept_of_the_others(self, tmp_path: Path) -> None:
        # A transmitted light has no emission.
        channels = [
            {"Name": "DAPI", "EmissionWavelength": "450.0", "Color": "65535"},
            {"Name": "light", "ContrastMethod": "Phase"},
        ]
        metadata = {"axes": "CYX", "Channel": channels}
        tifffile.imwrite(tmp_path / "in.ome.tif", pixels(2, 20, 24), metadata=metadata)

        copy(tmp_path / "in.ome.tif", tmp_path / "out.ome.tif")

        fluorescent, transmitted = metadata_of(tmp_path / "out.ome.tif").extra["Channel"]
        assert fluorescent == {"EmissionWavelength": "450.0", "Color": "65535"}
        assert transmitted["ContrastMethod"] == "Phase"
        assert "EmissionWavelength" not in transmitted

    def test_channel_without_a_colour_is_white(self, tmp_path: Path) -> None:
        metadata = {"axes": "CYX", "Channel": [{"Color": 65535}, {}]}
        tifffile.imwrite(tmp_path / "in.ome.tif", pixels(2, 20, 24), metadata=metadata)

        found = metadata_of(tmp_path / "in.ome.tif")

        assert found.channel_colours == ("0000FF", "FFFFFF")

    def test_names_that_some_channels_lack_are_left_out(
        self, ome_file: Path, tmp_path: Path
    ) -> None:
        xml = tifffile.tiffcomment(ome_file)
        xml = re.sub('<Channel ID="Channel:0:1".*?</Channel>', "", xml)
        tifffile.tiffcomment(ome_file, xml.encode())

        copy(ome_file, tmp_path / "out.ome.tif")

        assert metadata_of(tmp_path / "out.ome.tif").channel_names == ()

    @pytest.mark.parametrize(
        ("unit", "written"),
        [("foot", "ft"), ("attometer", "am"), ("furlong", "pixel"), ("", "pixel")],
    )
    def test_units_are_those_that_ome_has(
        self, tmp_path: Path, unit: str, written: str
    ) -> None:
        ome_zarr(tmp_path / "in.zarr", "zyx", (2, 20, 24), unit=unit)

        copy(tmp_path / "in.zarr", tmp_path / "out.ome.tif")

        xml = tifffile.tiffcomment(tmp_path / "out.ome.tif")
        assert set(re.findall('Unit="(.*?)"', xml)) == {written}

    @pytest.mark.parametrize(("unit", "written"), [("day", ["d"]), ("", [])])
    def test_times_have_no_unit_of_space(
        self, tmp_path: Path, unit: str, written: list[str]
    ) -> None:
        ome_zarr(tmp_path / "in.zarr", "tyx", (2, 20, 24), unit=unit)

        copy(tmp_path / "in.zarr", tmp_path / "out.ome.tif")

        xml = tifffile.tiffcomment(tmp_path / "out.ome.tif")
        assert 'TimeIncrement="2.0"' in xml
        assert re.findall('TimeIncrementUnit="(.*?)"', xml) == written

    @pytest.mark.parametrize(
        ("spelling", "unit"),
        [
            *[("msec", "ms"), ("milliseconds", "ms"), ("usec", "µs"), ("μsec", "µs")],
            *[("sec", "s"), ("seconds", "s"), ("mins", "min"), ("minutes", "min")],
            *[("hours", "h"), ("hrs", "h"), ("us", "µs"), ("days", "d")],
        ],
    )
    def test_times_may_be_spelled_as_people_do(
        self, tmp_path: Path, spelling: str, unit: str
    ) -> None:
        ome_zarr(tmp_path / "in.zarr", "tyx", (2, 20, 24), unit=spelling)

        copy(tmp_path / "in.zarr", tmp_path / "out.ome.tif")

        after = metadata_of(tmp_path / "out.ome.tif")
        assert (after.scale["T"], after.units["T"]) == (2.0, unit)

    @pytest.mark.parametrize(
        ("spelling", "unit"),
        [
            *[("micrometers", "µm"), ("micrometres", "µm"), ("microns", "µm")],
            *[("nanometre", "nm"), ("nanometers", "nm"), ("millimetres", "mm")],
            *[("inches", "in"), ("feet", "ft"), ("meters", "m"), ("angstroms", "Å")],
        ],
    )
    def test_lengths_may_be_spelled_as_people_do(
        self, tmp_path: Path, spelling: str, unit: str
    ) -> None:
        ome_zarr(tmp_path / "in.zarr", "yx", (20, 24), unit=spelling)

        copy(tmp_path / "in.zarr", tmp_path / "out.ome.tif")

        assert metadata_of(tmp_path / "out.ome.tif").units == {"Y": unit, "X": unit}

    def test_times_in_an_unknown_unit_are_not_taken_for_seconds(
        self, tmp_path: Path
    ) -> None:
        ome_zarr(tmp_path / "in.zarr", "tyx", (2, 20, 24), unit="blinks")

        copy(tmp_path / "in.zarr", tmp_path / "out.ome.tif")

        assert "T" not in metadata_of(tmp_path / "out.ome.tif").scale

    def test_units_that_are_not_known_are_mentioned(self, tmp_path: Path) -> None:
        ome_zarr(tmp_path / "in.zarr", "tcyx", (2, 2, 20, 24), unit="blinks")

        with io.open_image(tmp_path / "in.zarr") as source:
            assert source.notes == (
                "measures T in 'blinks', which OME-TIFF does not know and would leave out",
                "measures Y, X in 'blinks', which OME-TIFF does not know and would call "
                "pixel",
            )

    def test_carries_provenance(self, ome_file: Path, tmp_path: Path) -> None:
        copy(ome_file, tmp_path / "out.tif", provenance={"seed": 7})

        with tifffile.TiffFile(tmp_path / "out.tif") as tif:
            assert "seed" in tif.ome_metadata


@pytest.mark.parametrize(("size", "n_notes"), [("0", 0), ("-1", 2)])
def test_what_is_no_distance_is_no_pixel_size(
    tmp_path: Path, size: str, n_notes: int
) -> None:
    about = {"axes": "ZYX", "PhysicalSizeX": 0.1, "PhysicalSizeZ": size}
    path, about["TimeIncrement"] = tmp_path / "in.ome.tif", size
    tifffile.imwrite(
        path, pixels(3, 20, 24), ome=True, photometric="minisblack", metadata=about
    )
    with io.open_image(path) as source:
        assert source.metadata.scale == {"X": 0.1}
        assert sum("no distance" in note for note in source.notes) == n_notes


class TestImageJTiff:
    def test_reads_sizes_and_units(self, imagej_file: Path) -> None:
        found = metadata_of(imagej_file)

        assert found.axes == "TZYX"
        assert found.scale == pytest.approx({"X": 0.1, "Y": 0.2, "Z": 0.5, "T": 2.5})
        assert found.units == {"X": "µm", "Y": "µm", "Z": "µm", "T": "s"}

    def test_copy_is_imagej_again(self, imagej_file: Path, tmp_path: Path) -> None:
        copy(imagej_file, tmp_path / "out.tif")

        before, after = metadata_of(imagej_file), metadata_of(tmp_path / "out.tif")
        assert after.flavour == "imagej"
        assert after.scale == pytest.approx(before.scale)
        assert after.extra["Labels"] == before.extra["Labels"]
        assert after.extra["Info"] == "laser 5 %"
        np.testing.assert_array_equal(read(tmp_path / "out.tif"), read(imagej_file))

    def test_keeps_lookup_tables(self, tmp_path: Path) -> None:
        tables = [RNG.integers(0, 255, (3, 256), dtype=np.uint8) for _ in range(2)]
        tifffile.imwrite(
            tmp_path / "in.tif",
            pixels(2, 20, 24),
            imagej=True,
            metadata={"axes": "CYX", "mode": "composite", "LUTs": tables},
        )

        copy(tmp_path / "in.tif", tmp_path / "out.tif")

        after = metadata_of(tmp_path / "out.tif").extra
        assert after["mode"] == "composite"
        np.testing.assert_array_equal(after["LUTs"], tables)

    @pytest.mark.parametrize(
        ("dtype", "limits"), [("uint8", [(0, 255)] * 2), ("uint16", [(3, 90), (5, 70)])]
    )
    def test_colours_and_ranges_of_channels_go_to_zarr(
        self, tmp_path: Path, dtype: str, limits: list[tuple[int, int]]
    ) -> None:
        composite(tmp_path / "in.tif", dtype=dtype)

        copy(tmp_path / "in.tif", tmp_path / "out.zarr")

        omero = zarr.open_group(tmp_path / "out.zarr").attrs["ome"]["omero"]
        shown = omero["channels"]
        windows = [channel["window"] for channel in shown]
        assert [channel["color"] for channel in shown] == ["FF0080", "FFFFFF"]
        assert [(each["start"], each["end"]) for each in windows] == [(3, 90), (5, 70)]
        assert [(each["min"], each["max"]) for each in windows] == limits

    def test_colours_of_channels_go_to_ome_tiff(self, tmp_path: Path) -> None:
        composite(tmp_path / "in.tif")

        copy(tmp_path / "in.tif", tmp_path / "out.ome.tif")

        assert metadata_of(tmp_path / "out.ome.tif").channel_colours == ("FF0080", "FFFFFF")

    @pytest.mark.parametrize("name", ["out.tif", "out.ome.tif", "out.zarr"])
    def test_lookup_tables_that_are_not_one_a_channel_are_left_out(
        self, tmp_path: Path, name: str
    ) -> None:
        composite(tmp_path / "in.tif", n_channels=3)

        copy(tmp_path / "in.tif", tmp_path / name)

        assert metadata_of(tmp_path / name).channel_colours == ()

    @pytest.mark.parametrize("axes", ["YX", "ZYX"])
    def test_keeps_the_lookup_table_of_a_single_channel(
        self, tmp_path: Path, axes: str
    ) -> None:
        green = np.zeros((3, 256), np.uint16)
        green[1] = 257 * np.arange(256)
        image = pixels(*(3, 20, 24)[-len(axes) :], dtype="uint8")
        tifffile.imwrite(
            tmp_path / "in.tif",
            image,
            imagej=True,
            photometric="palette",
            colormap=green,
            metadata={"axes": axes},
        )

        copy(tmp_path / "in.tif", tmp_path / "out.tif")

        with tifffile.TiffFile(tmp_path / "out.tif") as tif:
            assert tif.is_imagej
            assert "colormap" not in tif.pages[0].description
            np.testing.assert_array_equal(tif.pages[0].colormap, green)
            np.testing.assert_array_equal(tif.asarray(), image)

    def test_lookup_table_does_not_fit_fractions(self, tmp_path: Path) -> None:
        image, palette = pixels(20, 24, dtype="uint8"), np.zeros((3, 256), np.uint16)
        tifffile.imwrite(
            tmp_path / "in.tif",
            image,
            imagej=True,
            photometric="palette",
            colormap=palette,
        )

        with io.open_image(tmp_path / "in.tif") as source:
            fractions = image.astype(np.float32)
            io.save_image(tmp_path / "out.tif", fractions, source.metadata)

        assert metadata_of(tmp_path / "out.tif").flavour == "imagej"
        np.testing.assert_array_equal(read(tmp_path / "out.tif"), fractions)

    def test_reads_the_micro_sign_as_imagej_writes_it(self, tmp_path: Path) -> None:
        tifffile.imwrite(
            tmp_path / "in.tif",
            pixels(20, 24),
            imagej=True,
            resolution=(4, 4),
            metadata={"unit": "\\u00B5m"},
        )

        copy(tmp_path / "in.tif", tmp_path / "out.tif")

        assert metadata_of(tmp_path / "out.tif").units == {"X": "µm", "Y": "µm"}

    @pytest.mark.parametrize("unit", ["µm", "μm"])
    def test_copy_has_any_letter_that_the_file_has(self, tmp_path: Path, unit: str) -> None:
        description = f"ImageJ=1.53t\nimages=1\nunit={unit}\nÅ=\U0001f52c\n".encode()
        tifffile.imwrite(
            tmp_path / "in.tif",
            pixels(20, 24),
            description=description,
            resolution=(4, 4),
            metadata=None,
        )

        copy(tmp_path / "in.tif", tmp_path / "out.tif", provenance={"seed": 7})

        assert metadata_of(tmp_path / "out.tif").units == {"X": "µm", "Y": "µm"}
        with tifffile.TiffFile(tmp_path / "out.tif") as tif:
            assert "\\u00c5=\\ud83d\\udd2c" in tif.pages[0].description

    def test_info_and_labels_are_not_escaped(self, tmp_path: Path) -> None:
        tifffile.imwrite(
            tmp_path / "in.tif",
            pixels(20, 24),
            imagej=True,
            metadata={"Info": "5 µm", "Labels": ["β"]},
        )

        copy(tmp_path / "in.tif", tmp_path / "out.tif")

        after = metadata_of(tmp_path / "out.tif").extra
        assert (after["Info"], after["Labels"]) == ("5 µm", "β")

    @pytest.mark.parametrize(
        ("resolution", "unit", "size"),
        [
            ((20_000, 10_000), "CENTIMETER", {"X": 0.5, "Y": 1.0}),
            ((25_400, 25_400), "INCH", {"X": 1.0, "Y": 1.0}),
            ((10, 5), "NONE", {"X": 0.1, "Y": 0.2}),
            ((72, 72), "INCH", {}),
            ((1, 1), "NONE", {}),
        ],
    )
    @pytest.mark.parametrize("suffix", [".tif", ".ome.tif", ".ome.zarr"])
    def test_size_needs_no_unit_in_the_description(
        self, tmp_path: Path, resolution: tuple, unit: str, size: dict, suffix: str
    ) -> None:
        tifffile.imwrite(
            tmp_path / "in.tif",
            pixels(20, 24),
            imagej=True,
            resolution=resolution,
            resolutionunit=unit,
        )

        copy(tmp_path / "in.tif", tmp_path / f"out{suffix}")

        for path in (tmp_path / "in.tif", tmp_path / f"out{suffix}"):
            found = metadata_of(path)
            assert found.scale == pytest.approx(size)
            known = "" if unit == "NONE" else "µm"
            assert {found.units.get(axis, "") for axis in size} <= {known}

    @pytest.mark.parametrize(
        ("planes", "factor"), [(range(6), 1), (range(0, 6, 2), 2), ([0, 1, 5], None)]
    )
    @pytest.mark.parametrize(
        ("axis", "before"),
        [("Z", {"spacing": -0.5}), ("T", {"finterval": 2.0, "fps": 0.5})],
    )
    def test_distances_are_those_of_the_planes_that_are_written(
        self, tmp_path: Path, axis: str, before: dict, planes: list, factor: int | None
    ) -> None:
        stack = pixels(6, 20, 24)
        metadata = {"axes": f"{axis}YX", "unit": "um", **before}
        tifffile.imwrite(tmp_path / "in.tif", stack, imagej=True, metadata=metadata)

        chosen = metadata_of(tmp_path / "in.tif").select(list(planes), stack.shape, None)
        io.save_image(tmp_path / "out.tif", stack[list(planes)], chosen)

        after = metadata_of(tmp_path / "out.tif").extra
        (first, distance), *rest = before.items()
        assert after.get(first) == (factor and factor * distance)
        assert [key for key, _ in rest if key in after] == (
            ["fps"] if rest and factor == 1 else []
        )

    def test_what_imagej_cannot_hold_becomes_ome(
        self, imagej_file: Path, tmp_path: Path
    ) -> None:
        with io.open_image(imagej_file) as source:
            io.save_image(
                tmp_path / "out.tif",
                np.asarray(source.data).astype(np.float64),
                source.metadata,
            )

        after = metadata_of(tmp_path / "out.tif")
        assert after.flavour == "ome"
        assert after.scale == pytest.approx({"X": 0.1, "Y": 0.2, "Z": 0.5, "T": 2.5})

    def test_no_pixel_size_is_made_up(self, tmp_path: Path) -> None:
        about = {"unit": "um", "axes": "ZYX", "spacing": 0.5}
        stack = pixels(3, 20, 24)
        tifffile.imwrite(
            tmp_path / "in.tif", stack, imagej=True, resolution=(0, 0), metadata=about
        )
        copy(tmp_path / "in.tif", tmp_path / "out.tif")
        for name in ("in.tif", "out.tif"):
            assert metadata_of(tmp_path / name).scale == {"Z": 0.5}

    @pytest.mark.filterwarnings("error:.*nonconformant")
    def test_bigtiff_is_ome(self, imagej_file: Path, tmp_path: Path) -> None:
        copy(imagej_file, tmp_path / "out.btf")
        with tifffile.TiffFile(tmp_path / "out.btf") as tif:
            assert (tif.is_bigtiff, tif.is_imagej, tif.is_ome) == (True, False, True)
        before, after = metadata_of(imagej_file), metadata_of(tmp_path / "out.btf")
        assert (after.axes, after.units) == (before.axes, before.units)
        assert after.scale == pytest.approx(before.scale)
        np.testing.assert_array_equal(read(tmp_path / "out.btf"), read(imagej_file))


class TestPlainTiff:
    def test_keeps_resolution_and_description(self, tmp_path: Path) -> None:
        tifffile.imwrite(
            tmp_path / "in.tif",
            pixels(20, 24),
            resolution=(2000, 1000),
            resolutionunit="CENTIMETER",
            description="slide 12",
            metadata=None,
        )

        copy(tmp_path / "in.tif", tmp_path / "out.tif")

        assert metadata_of(tmp_path / "out.tif").scale == {"X": 5.0, "Y": 10.0}
        with tifffile.TiffFile(tmp_path / "out.tif") as tif:
            assert tif.pages[0].description == "slide 12"
            assert tif.pages[0].resolution == (2000, 1000)

    @pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
    def test_description_may_have_any_letter(self, tmp_path: Path, encoding: str) -> None:
        description = "pixel 0.2 µm".encode(encoding)
        tifffile.imwrite(tmp_path / "in.tif", pixels(20, 24), description=description)

        copy(tmp_path / "in.tif", tmp_path / "out.tif")

        with tifffile.TiffFile(tmp_path / "out.tif") as tif:
            assert tif.pages[0].description == "pixel 0.2 µm"

    def test_description_outlives_a_copy_of_a_copy(self, tmp_path: Path) -> None:
        tifffile.imwrite(tmp_path / "in.tif", pixels(20, 24), description="slide 12")

        copy(tmp_path / "in.tif", tmp_path / "once.tif", provenance={"seed": 7})
        copy(tmp_path / "once.tif", tmp_path / "twice.tif")

        with tifffile.TiffFile(tmp_path / "twice.tif") as tif:
            assert tif.pages[0].description == "slide 12"

    @pytest.mark.parametrize("kind", ["unassalpha", "assocalpha"])
    @pytest.mark.parametrize("samples", [2, 4])
    @pytest.mark.parametrize("ome", [False, True])
    def test_opacity_is_set_aside_and_written_back(
        self, tmp_path: Path, kind: str, samples: int, ome: bool
    ) -> None:
        image = pixels(20, 24, samples, dtype="uint8")
        tifffile.imwrite(
            tmp_path / "in.tif",
            image,
            photometric="rgb" if samples == 4 else "minisblack",
            planarconfig="contig",
            extrasamples=[kind],
            ome=ome,
        )

        with io.open_image(tmp_path / "in.tif") as source:
            colours = image[..., :-1] if samples == 4 else image[..., 0]
            np.testing.assert_array_equal(source.data, colours)
            np.testing.assert_array_equal(source.alpha, image[..., -1])
        copy(tmp_path / "in.tif", tmp_path / "out.tif")

        with tifffile.TiffFile(tmp_path / "out.tif") as tif:
            assert [s.name.lower() for s in tif.pages[0].extrasamples] == [kind]
            np.testing.assert_array_equal(tif.asarray(), image)

    @pytest.mark.parametrize(
        ("unit", "size"), [("nanometer", 0.002), ("millimeter", 2000), ("inch", 50800)]
    )
    def test_pixel_size_may_have_any_unit(
        self, tmp_path: Path, unit: str, size: float
    ) -> None:
        ome_zarr(tmp_path / "in.zarr", "yx", (20, 24), unit=unit)

        with io.open_image(tmp_path / "in.zarr") as source:
            image = np.asarray(source.data).astype(np.int64)
            io.save_image(tmp_path / "out.tif", image, source.metadata)

        after = metadata_of(tmp_path / "out.tif")
        assert after.scale == pytest.approx({"X": size, "Y": size}, rel=1e-5)

    def test_screen_resolution_is_no_pixel_size(self, tmp_path: Path) -> None:
        tifffile.imwrite(
            tmp_path / "in.tif",
            pixels(20, 24),
            resolution=(72, 72),
            resolutionunit="INCH",
            metadata=None,
        )

        assert not metadata_of(tmp_path / "in.tif").scale

    @pytest.mark.parametrize("dtype", ["int64", "uint64", "float16", "int8", "float32"])
    def test_any_dtype(self, tmp_path: Path, dtype: str) -> None:
        tifffile.imwrite(tmp_path / "in.tif", pixels(20, 24, dtype=dtype))

        copy(tmp_path / "in.tif", tmp_path / "out.tif")

        assert read(tmp_path / "out.tif").dtype == dtype

    @pytest.mark.parametrize("planar", ["contig", "separate"])
    def test_colour_layout_is_kept(self, tmp_path: Path, planar: str) -> None:
        shape = (20, 24, 3) if planar == "contig" else (3, 20, 24)
        tifffile.imwrite(
            tmp_path / "in.tif",
            pixels(*shape, dtype="uint8"),
            photometric="rgb",
            planarconfig=planar,
        )

        copy(tmp_path / "in.tif", tmp_path / "out.tif")

        assert (
            metadata_of(tmp_path / "out.tif").axes == metadata_of(tmp_path / "in.tif").axes
        )
        np.testing.assert_array_equal(read(tmp_path / "out.tif"), read(tmp_path / "in.tif"))

    def test_palette_without_order_is_said(self, tmp_path: Path) -> None:
        gray, path = pixels(20, 24, dtype="uint8"), tmp_path / "in.tif"
        ramp = np.linspace(0, 2**16 - 1, 256).astype(np.uint16)
        tables = {
            "gray": np.stack([ramp] * 3),
            "hot and cold": np.stack([ramp, np.roll(ramp, 128), ramp[::-1]]),
            "labels": RNG.integers(0, 2**16 - 1, (3, 256), dtype=np.uint16),
        }
        said = {}
        for name, table in tables.items():
            tifffile.imwrite(path, gray, photometric="palette", colormap=table)
            with io.open_image(path) as source:
                said[name] = any("colours in no order" in note for note in source.notes)
        assert said == {"gray": False, "hot and cold": False, "labels": True}

    def test_palette_is_kept(self, tmp_path: Path) -> None:
        palette = RNG.integers(0, 2**16 - 1, (3, 256), dtype=np.uint16)
        tifffile.imwrite(
            tmp_path / "in.tif", pixels(20, 24, dtype="uint8"), colormap=palette
        )

        copy(tmp_path / "in.tif", tmp_path / "out.tif")

        with tifffile.TiffFile(tmp_path / "out.tif") as tif:
            np.testing.assert_array_equal(tif.pages[0].colormap, palette)

    def test_colours_that_the_reader_converts_are_called_what_they_became(
        self, tmp_path: Path
    ) -> None:
        image = np.full((32, 32, 3), (200, 120, 40), np.uint8)
        tifffile.imwrite(
            tmp_path / "in.tif", image, photometric="ycbcr", compression="jpeg"
        )

        copy(tmp_path / "in.tif", tmp_path / "out.tif")

        with tifffile.TiffFile(tmp_path / "out.tif") as tif:
            assert tif.pages[0].photometric.name == "RGB"
            np.testing.assert_array_equal(tif.asarray(), read(tmp_path / "in.tif"))

    @pytest.mark.parametrize(
        ("photometric", "samples", "reason"),
        [("separated", 4, "CMYK"), ("cielab", 3, "CIELAB"), ("ycbcr", 3, "YCBCR")],
    )
    def test_colours_that_nobody_converts_are_refused(
        self, tmp_path: Path, photometric: str, samples: int, reason: str
    ) -> None:
        image = pixels(20, 24, samples, dtype="uint8")
        options = {"subsampling": (1, 1)} if photometric == "ycbcr" else {}
        tifffile.imwrite(tmp_path / "in.tif", image, photometric=photometric, **options)

        with pytest.raises(FileError, match=rf"in\.tif: .*{reason}"):
            read(tmp_path / "in.tif")

    @pytest.mark.parametrize("planar", ["contig", "separate"])
    @pytest.mark.parametrize("samples", [2, 3, 5])
    @pytest.mark.parametrize("source", ["in.tif", "in.ome.tif"])
    @pytest.mark.parametrize("name", ["out.tif", "out.ome.tif"])
    def test_samples_that_are_no_colours_are_channels(
        self, tmp_path: Path, planar: str, samples: int, source: str, name: str
    ) -> None:
        image = pixels(samples, 20, 24)
        tifffile.imwrite(
            tmp_path / source,
            np.moveaxis(image, 0, -1) if planar == "contig" else image,
            photometric="minisblack",
            planarconfig=planar,
            metadata={"axes": "YXS" if planar == "contig" else "SYX"},
        )

        copy(tmp_path / source, tmp_path / name)

        for path in (tmp_path / source, tmp_path / name):
            assert metadata_of(path).axes == "CYX"
            np.testing.assert_array_equal(read(path), image)

    def test_samples_of_a_stack_are_channels_of_each_plane(self, tmp_path: Path) -> None:
        image = pixels(3, 20, 24, 2)
        tifffile.imwrite(
            tmp_path / "in.tif",
            image,
            photometric="minisblack",
            planarconfig="contig",
            metadata={"axes": "ZYXS"},
        )

        assert metadata_of(tmp_path / "in.tif").axes == "ZCYX"
        np.testing.assert_array_equal(read(tmp_path / "in.tif"), np.moveaxis(image, -1, 1))

    @pytest.mark.parametrize("dialect", [{}, {"ome": True}, {"imagej": True}])
    @pytest.mark.parametrize("name", ["out.tif", "out.ome.tif"])
    def test_zero_stays_white(self, tmp_path: Path, dialect: dict, name: str) -> None:
        image = pixels(20, 24)
        tifffile.imwrite(tmp_path / "in.tif", image, photometric="miniswhite", **dialect)

        copy(tmp_path / "in.tif", tmp_path / name)

        with tifffile.TiffFile(tmp_path / name) as tif:
            assert tif.pages[0].photometric.name == "MINISWHITE"
            np.testing.assert_array_equal(tif.asarray(), image)
            assert "photometric" not in tif.pages[0].description

    @pytest.mark.parametrize("dtype", ["uint8", "uint16"])
    def test_where_zero_cannot_be_white_it_becomes_the_largest(
        self, tmp_path: Path, dtype: str
    ) -> None:
        image = pixels(20, 24, dtype=dtype)
        tifffile.imwrite(tmp_path / "in.tif", image, photometric="miniswhite")

        copy(tmp_path / "in.tif", tmp_path / "out.png")

        np.testing.assert_array_equal(read(tmp_path / "out.png"), ~image)

    @pytest.mark.parametrize(
        ("look", "told"),
        [
            ({"photometric": "miniswhite"}, ["zero shown as white"]),
            ({"colormap": np.zeros((3, 256), np.uint16)}, ["a palette"]),
            ({}, []),
        ],
    )
    def test_what_omezarr_would_show_otherwise_is_told(
        self, tmp_path: Path, look: dict, told: list[str]
    ) -> None:
        tifffile.imwrite(tmp_path / "in.tif", pixels(20, 24, dtype="uint8"), **look)

        with io.open_image(tmp_path / "in.tif") as source:
            lost = io.lost_in(tmp_path / "out.ome.zarr", source)
            assert not io.lost_in(tmp_path / "out.tif", source)

        wanted = [f"has {each}, which its result will be without" for each in told]
        assert lost == wanted

    @pytest.mark.parametrize(
        ("name", "dtype", "kept"),
        [
            ("out.tif", "uint8", True),
            ("out.tif", "float32", False),
            ("out.ome.tif", "uint8", False),
            ("out.png", "uint8", False),
            ("out.ome.zarr", "uint8", False),
        ],
    )
    @pytest.mark.parametrize("is_imagej", [False, True])
    def test_a_palette_is_told_of_where_it_is_lost(
        self, tmp_path: Path, name: str, dtype: str, kept: bool, is_imagej: bool
    ) -> None:
        palette = RNG.integers(0, 2**16 - 1, (3, 256), dtype=np.uint16)
        image = pixels(20, 24, dtype="uint8")
        tifffile.imwrite(
            tmp_path / "in.tif",
            image,
            imagej=is_imagej,
            photometric="palette",
            colormap=palette,
        )

        with io.open_image(tmp_path / "in.tif") as source:
            lost = io.lost_in(tmp_path / name, source, np.dtype(dtype))
            image = np.asarray(source.data, dtype)
            io.save_image(tmp_path / name, image, source.metadata)

        said = ["has a palette, which its result will be without"]
        assert lost == ([] if kept else said)
        with io.open_image(tmp_path / name) as result:
            assert ("colormap" in result.metadata.extra) is kept

    def test_palette_does_not_fit_fractions(self, tmp_path: Path) -> None:
        palette = np.zeros((3, 256), np.uint16)
        tifffile.imwrite(
            tmp_path / "in.tif", pixels(20, 24, dtype="uint8"), colormap=palette
        )

        with io.open_image(tmp_path / "in.tif") as source:
            image = np.asarray(source.data).astype(np.float32)
            io.save_image(tmp_path / "out.tif", image, source.metadata)

        assert read(tmp_path / "out.tif").dtype == np.float32

    def test_compressed_files_are_read(self, tmp_path: Path) -> None:
        image = pixels(4, 20, 24)
        tifffile.imwrite(
            tmp_path / "in.tif",
            image,
            compression="lzw",
            predictor=True,
            photometric="minisblack",
        )

        np.testing.assert_array_equal(read(tmp_path / "in.tif"), image)

    def test_channels_innermost_are_stored_as_pages(self, tmp_path: Path) -> None:
        image = pixels(3, 20, 24, 2)

        io.save_image(tmp_path / "out.ome.tif", image, Metadata("ZYXC"))

        assert metadata_of(tmp_path / "out.ome.tif").axes == "ZCYX"
        np.testing.assert_array_equal(
            read(tmp_path / "out.ome.tif"), np.moveaxis(image, -1, 1)
        )

    def test_several_dimensions_without_a_name(self, tmp_path: Path) -> None:
        image = pixels(4, 2, 20, 24)

        io.save_image(tmp_path / "out.tif", image, Metadata("QQYX"))

        assert metadata_of(tmp_path / "out.tif").axes == "QQYX"
        np.testing.assert_array_equal(read(tmp_path / "out.tif"), image)


def write_each(path: Path, images: list, **arguments: object) -> None:
    """Write images one by one, as programs do that save what comes from a camera."""
    for number, image in enumerate(images):
        tifffile.imwrite(path, image, append=number > 0, **arguments)


class TestSeveralImages:
    @pytest.mark.parametrize(
        ("shape", "axes", "arguments"),
        [
            ((20, 24), "QYX", {}),
            ((20, 24), "QYX", {"compression": "zlib", "tile": (16, 16)}),
            ((3, 20, 24), "QQYX", {"photometric": "minisblack"}),
            (
                (3, 20, 24),
                "QZYX",
                {"photometric": "minisblack", "metadata": {"axes": "ZYX"}},
            ),
            ((20, 24, 3), "QYXS", {"photometric": "rgb"}),
        ],
    )
    @pytest.mark.parametrize("name", ["out.tif", "out.ome.zarr"])
    def test_images_alike_are_a_stack(
        self, tmp_path: Path, shape: tuple, axes: str, arguments: dict, name: str
    ) -> None:
        frames = [pixels(*shape, dtype="uint8") for _ in range(4)]
        size = {"resolution": (2000, 1000), "resolutionunit": "CENTIMETER"}
        write_each(tmp_path / "in.tif", frames, **size, **arguments)

        with io.open_image(tmp_path / "in.tif") as source:
            assert isinstance(source.data, zarr.Array)
            assert (source.metadata.axes, source.left_out) == (axes, 0)
            assert source.metadata.scale == {"X": 5.0, "Y": 10.0}
            assert "4 images alike" in source.notes[0]
            np.testing.assert_array_equal(source.data[2], frames[2])
        copy(tmp_path / "in.tif", tmp_path / name, provenance={"seed": 7})

        assert io.read_provenance(tmp_path / name) == {"seed": 7}
        assert metadata_of(tmp_path / name).scale == {"X": 5.0, "Y": 10.0}
        order = io.ngff_order(axes) if name.endswith("zarr") else range(len(axes))
        expected = np.transpose(frames, order)
        np.testing.assert_array_equal(read(tmp_path / name), expected)

    @pytest.mark.parametrize(
        "other",
        [
            {"data": pixels(30, 34)},
            {"data": pixels(20, 24, dtype="uint8")},
            {"data": pixels(20, 24), "photometric": "miniswhite"},
            {"data": pixels(20, 24, 3), "photometric": "rgb"},
        ],
    )
    def test_others_are_counted_and_read_one_at_a_time(
        self, tmp_path: Path, other: dict
    ) -> None:
        path, first = tmp_path / "in.tif", pixels(20, 24)
        with tifffile.TiffWriter(path) as tif:
            tif.write(first, resolution=(2000, 1000), resolutionunit="CENTIMETER")
            tif.write(**other, resolution=(500, 500), resolutionunit="CENTIMETER")

        with io.open_image(path) as source:
            np.testing.assert_array_equal(source.data, first)
            assert source.left_out == 1
            assert "holds 2 images" in source.notes[0]
            assert "image=1" in source.notes[0]
        with io.open_image(path, image=1) as source:
            np.testing.assert_array_equal(source.data, other["data"])
            assert (source.left_out, source.notes) == (0, ())
            assert source.metadata.scale == {"X": 20.0, "Y": 20.0}

    def test_one_of_many_alike_can_be_chosen(self, tmp_path: Path) -> None:
        frames = [pixels(20, 24) for _ in range(3)]
        write_each(tmp_path / "in.tif", frames)

        with io.open_image(tmp_path / "in.tif", image=2) as source:
            np.testing.assert_array_equal(source.data, frames[2])

    def test_positions_have_each_its_own_description(self, tmp_path: Path) -> None:
        path, images = tmp_path / "in.ome.tif", [pixels(20, 24), pixels(20, 24)]
        with tifffile.TiffWriter(path, ome=True) as tif:
            for size, image in zip((0.5, 0.25), images, strict=True):
                tif.write(image, metadata={"axes": "YX", "PhysicalSizeX": size})

        with io.open_image(path) as source:
            assert (source.metadata.scale, source.left_out) == ({"X": 0.5}, 1)
        with io.open_image(path, image=1) as source:
            assert (source.metadata.scale, source.left_out) == ({"X": 0.25}, 0)
            np.testing.assert_array_equal(source.data, images[1])

    def test_thumbnails_are_no_further_images(self, tmp_path: Path) -> None:
        with tifffile.TiffWriter(tmp_path / "in.tif") as tif:
            tif.write(pixels(20, 24), metadata=None)
            tif.write(pixels(15, 7), metadata=None, subfiletype=1)

        with io.open_image(tmp_path / "in.tif") as source:
            assert (source.left_out, source.notes) == (0, ())

    @pytest.mark.parametrize(
        ("name", "number"), [("in.tif", 1), ("in.tif", -1), ("in.png", 1)]
    )
    def test_image_that_is_not_there(self, tmp_path: Path, name: str, number: int) -> None:
        io.save_image(tmp_path / name, pixels(20, 24), Metadata("YX"))

        with (
            pytest.raises(FileError, match=f"has no image {number}"),
            io.open_image(tmp_path / name, image=number),
        ):
            pass


class TestKeptBesidePixels:
    @pytest.mark.parametrize("dialect", [{}, {"ome": True}, {"imagej": True}])
    @pytest.mark.parametrize("compression", ["lzw", "zlib", "zstd"])
    @pytest.mark.parametrize("predictor", [False, True])
    def test_lossless_compression_date_and_profile(
        self, tmp_path: Path, dialect: dict, compression: str, predictor: bool
    ) -> None:
        tifffile.imwrite(
            tmp_path / "in.tif",
            pixels(3, 20, 24),
            photometric="minisblack",
            compression=compression,
            predictor=predictor,
            datetime="2020:01:02 03:04:05",
            iccprofile=b"any bytes" * 20,
            metadata={"axes": "ZYX"},
            **dialect,
        )

        copy(tmp_path / "in.tif", tmp_path / "out.tif")

        np.testing.assert_array_equal(read(tmp_path / "out.tif"), read(tmp_path / "in.tif"))
        with (
            tifffile.TiffFile(tmp_path / "in.tif") as before,
            tifffile.TiffFile(tmp_path / "out.tif") as after,
        ):
            for name in ("compression", "predictor", "datetime", "iccprofile"):
                found = getattr(after.pages[0], name)
                assert found == getattr(before.pages[0], name)
            assert (after.is_ome, after.is_imagej) == (before.is_ome, before.is_imagej)
            assert "iccprofile" not in after.pages[0].description

    @pytest.mark.parametrize("dtype", ["u1", "i8", "f2", "f4", "f8", ">u2"])
    @pytest.mark.parametrize("planar", ["contig", "separate"])
    def test_compression_fits_pixels_of_any_kind(
        self, tmp_path: Path, dtype: str, planar: str
    ) -> None:
        shape = (20, 24, 3) if planar == "contig" else (3, 20, 24)
        settings = {"photometric": "rgb", "planarconfig": planar}
        tifffile.imwrite(
            tmp_path / "in.tif",
            pixels(*shape, dtype="uint8"),
            compression="lzw",
            predictor=True,
            **settings,
        )

        with io.open_image(tmp_path / "in.tif") as source:
            image = np.asarray(source.data).astype(dtype)
            io.save_image(tmp_path / "out.tif", image, source.metadata)

        np.testing.assert_array_equal(read(tmp_path / "out.tif"), image)

    @pytest.mark.parametrize(
        ("number", "text", "scale", "unit"),
        [
            (
                34682,
                "[Scan]\r\nPixelWidth=2.5e-9\r\nPixelHeight=2e-9\r\n",
                {"X": 0.0025, "Y": 0.002},
                "µm",
            ),
            (
                34118,
                "\r\n0\r\nAP_IMAGE_PIXEL_SIZE\r\nImage Pixel Size = 5.2 nm\r\n",
                {"X": 5.2, "Y": 5.2},
                "nm",
            ),
        ],
    )
    @pytest.mark.parametrize("name", ["out.tif", "out.ome.tif", "out.zarr"])
    def test_pixel_size_of_electron_microscopes(
        self, tmp_path: Path, number: int, text: str, scale: dict, unit: str, name: str
    ) -> None:
        tifffile.imwrite(
            tmp_path / "in.tif",
            pixels(20, 24),
            # As such a file says it of its print.
            resolution=(96, 96),
            resolutionunit="INCH",
            extratags=[(number, 2, 0, text, True)],
            metadata=None,
        )

        with io.open_image(tmp_path / "in.tif") as source:
            assert source.metadata.scale == pytest.approx(scale)
            assert set(source.metadata.units.values()) == {unit}
            (said,) = io.lost_in(tmp_path / name, source)
            assert "metadata, which its result will be without" in said
        copy(tmp_path / "in.tif", tmp_path / name)

        after = metadata_of(tmp_path / name)
        in_nm = {"µm": 1000, "nm": 1}
        for axis in "XY":
            found = after.scale[axis] * in_nm[after.units[axis]]
            assert found == pytest.approx(scale[axis] * in_nm[unit], rel=1e-4)

    @pytest.mark.parametrize(
        "text", ["[Scan]\r\nPixelWidth=wide\r\n", "AP_PIXEL_SIZE\r\nPixel Size = nm\r\n"]
    )
    @pytest.mark.parametrize("number", [34682, 34118])
    def test_pixel_size_that_is_none_costs_nothing(
        self, tmp_path: Path, number: int, text: str
    ) -> None:
        tag = (number, 2, 0, text, True)
        tifffile.imwrite(
            tmp_path / "in.tif", pixels(20, 24), extratags=[tag], metadata=None
        )

        assert metadata_of(tmp_path / "in.tif").scale == {}

    def test_what_is_lost_is_said(self, tmp_path: Path) -> None:
        image = pixels(64, 64, dtype="uint8")
        settings = {"tile": (16, 16), "compression": "jpeg"}
        with tifffile.TiffWriter(tmp_path / "in.tif") as tif:
            tif.write(image, subifds=1, **settings)
            tif.write(image[::2, ::2], subfiletype=1, **settings)
        group = zarr.create_group(tmp_path / "in.zarr")
        for name in "01":
            group.create_array(name, data=image[:: 1 + int(name), :: 1 + int(name)])
        described = {"axes": YX, "datasets": [{"path": "0"}, {"path": "1"}]}
        group.attrs["ome"] = {"version": "0.5", "multiscales": [described]}

        for name, said in (
            ("in.tif", "has smaller copies of itself, tiles, JPEG compression, which its"),
            ("in.zarr", "has smaller copies of itself, which its"),
        ):
            with io.open_image(tmp_path / name) as source:
                lost = io.lost_in(tmp_path / "out.tif", source)
                assert lost == [f"{said} result will be without"]
                assert source.notes == ()

    def test_png_keeps_what_it_says(self, tmp_path: Path) -> None:
        import imagecodecs

        chunks = {
            b"pHYs": struct.pack(">IIB", 11811, 11811, 1),
            b"gAMA": struct.pack(">I", 45455),
            b"tEXt": b"Comment\0slide 12",
        }
        kept = b"".join(png_chunk(kind, content) for kind, content in chunks.items())
        plain = imagecodecs.png_encode(pixels(20, 24, dtype="uint8"))
        odd = png_chunk(b"spAL", b"of no use to others")
        (tmp_path / "in.png").write_bytes(plain[:33] + kept + odd + plain[33:])

        copy(tmp_path / "in.png", tmp_path / "out.png")

        assert kept in (tmp_path / "out.png").read_bytes()
        assert b"spAL" not in (tmp_path / "out.png").read_bytes()
        np.testing.assert_array_equal(read(tmp_path / "out.png"), read(tmp_path / "in.png"))


def png_chunk(kind: bytes, content: bytes) -> bytes:
    mark = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + mark


class TestPng:
    @pytest.mark.parametrize("dtype", ["uint8", "uint16"])
    @pytest.mark.parametrize("samples", [1, 2, 3, 4])
    def test_copy_is_the_same(self, tmp_path: Path, dtype: str, samples: int) -> None:
        import imagecodecs

        image = pixels(20, 24, samples, dtype=dtype)
        (tmp_path / "in.png").write_bytes(imagecodecs.png_encode(image.squeeze()))

        copy(tmp_path / "in.png", tmp_path / "out.png")

        after = imagecodecs.imread(tmp_path / "out.png")
        assert after.dtype == dtype
        np.testing.assert_array_equal(after, image.squeeze())

    def test_byte_order_does_not_matter(self, tmp_path: Path) -> None:
        image = pixels(20, 24, dtype=">u2")

        io.save_image(tmp_path / "out.png", image, Metadata("YX"))

        np.testing.assert_array_equal(read(tmp_path / "out.png"), image)

    def test_opacity_is_not_part_of_the_image(self, tmp_path: Path) -> None:
        import imagecodecs

        (tmp_path / "in.png").write_bytes(
            imagecodecs.png_encode(pixels(20, 24, 4, dtype="uint8"))
        )

        with io.open_image(tmp_path / "in.png") as source:
            assert source.data.shape == (20, 24, 3)
            assert source.alpha is not None

    def test_a_sample_that_is_no_opacity_is_not_made_it(self, tmp_path: Path) -> None:
        path, image = tmp_path / "out.png", pixels(20, 24, 4)

        with pytest.raises(FileError, match="not 4 samples"):
            io.save_image(path, image, Metadata("YXS"))
        with pytest.raises(FileError, match="not 4 samples"):
            io.check_format(path, "YXS", image.dtype, image.shape)

    def test_a_mask_of_one_bit_is_refused_as_a_boolean_tiff_is(
        self, tmp_path: Path
    ) -> None:
        header = struct.pack(">IIBBBBB", 24, 20, 1, 0, 0, 0, 0)
        rows = zlib.compress(20 * (b"\0" + b"\xf0\x0f\xaa"))
        chunks = ((b"IHDR", header), (b"IDAT", rows), (b"IEND", b""))
        content = b"".join(png_chunk(*each) for each in chunks)
        (tmp_path / "mask.png").write_bytes(b"\x89PNG\r\n\x1a\n" + content)

        with (
            pytest.raises(FileError, match="black and white"),
            io.open_image(tmp_path / "mask.png"),
        ):
            pass

    @pytest.mark.parametrize(
        ("axes", "shape"),
        [("ZYX", (1, 20, 24)), ("QTYX", (1, 1, 20, 24)), ("TYXS", (1, 20, 24, 3))],
    )
    def test_a_stack_of_one_plane_is_a_picture(
        self, tmp_path: Path, axes: str, shape: tuple[int, ...]
    ) -> None:
        path, stack = tmp_path / "out.png", pixels(*shape)

        io.check_format(path, axes, stack.dtype, shape)
        io.save_image(path, stack, Metadata(axes))

        plane = stack.reshape([size for size in shape if size > 1])
        np.testing.assert_array_equal(read(path), plane)
        with pytest.raises(FileError, match=f"not {axes} uint16; write .tif"):
            io.check_format(path, axes, stack.dtype, (2, *shape[1:]))

    def test_what_png_cannot_hold_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(FileError, match=r"write \.tif instead"):
            io.save_image(
                tmp_path / "out.png", pixels(20, 24, dtype="float32"), Metadata("YX")
            )


def exif(orientation: int, order: str) -> bytes:
    mark = b"MM" if order == ">" else b"II"
    return mark + struct.pack(
        f"{order}HIHHHIHHI", 42, 8, 1, 0x0112, 3, 1, orientation, 0, 0
    )


class TestOrientation:
    @pytest.mark.parametrize("order", ["<", ">"])
    @pytest.mark.parametrize(
        ("orientation", "seen"),
        [
            (1, [[1, 2, 3], [4, 5, 6]]),
            (2, [[3, 2, 1], [6, 5, 4]]),
            (3, [[6, 5, 4], [3, 2, 1]]),
            (4, [[4, 5, 6], [1, 2, 3]]),
            (5, [[1, 4], [2, 5], [3, 6]]),
            (6, [[4, 1], [5, 2], [6, 3]]),
            (7, [[6, 3], [5, 2], [4, 1]]),
            (8, [[3, 6], [2, 5], [1, 4]]),
        ],
    )
    def test_png_is_read_as_it_is_seen(
        self, tmp_path: Path, orientation: int, order: str, seen: list[list[int]]
    ) -> None:
        import imagecodecs

        plain = imagecodecs.png_encode(np.array([[1, 2, 3], [4, 5, 6]], np.uint8))
        body = b"eXIf" + exif(orientation, order)
        chunk = struct.pack(">I", len(body) - 4) + body
        chunk += struct.pack(">I", zlib.crc32(body))
        (tmp_path / "in.png").write_bytes(plain[:33] + chunk + plain[33:])

        np.testing.assert_array_equal(read(tmp_path / "in.png"), seen)

    @pytest.mark.parametrize("dialect", [{}, {"ome": True}, {"imagej": True}])
    def test_tiff_keeps_it(self, tmp_path: Path, dialect: dict) -> None:
        tifffile.imwrite(
            tmp_path / "in.tif",
            pixels(3, 16, 24),
            extratags=[(274, 3, 1, 6, False)],
            photometric="minisblack",
            **dialect,
        )

        copy(tmp_path / "in.tif", tmp_path / "out.tif")

        with tifffile.TiffFile(tmp_path / "out.tif") as tif:
            assert [page.tags[274].value for page in tif.pages] == [6] * len(tif.pages)
            np.testing.assert_array_equal(tif.asarray(), read(tmp_path / "in.tif"))
            assert "orientation" not in tif.pages[0].description

    @pytest.mark.parametrize("samples", [3, 4])
    def test_png_made_of_tiff_shows_what_that_shows(
        self, tmp_path: Path, samples: int
    ) -> None:
        import imagecodecs

        image = pixels(16, 24, samples, dtype="uint8")
        tifffile.imwrite(
            tmp_path / "in.tif",
            image,
            photometric="rgb",
            extratags=[(274, 3, 1, 6, True)],
            extrasamples=["unassalpha"] * (samples - 3),
        )

        copy(tmp_path / "in.tif", tmp_path / "out.png")

        after = imagecodecs.imread(tmp_path / "out.png")
        np.testing.assert_array_equal(after, np.rot90(image, -1))

    def test_jpeg_is_read_as_it_is_seen(self, tmp_path: Path) -> None:
        import imagecodecs

        plain = imagecodecs.jpeg_encode(np.zeros((16, 24), np.uint8))
        body = b"Exif\0\0" + exif(6, ">")
        segment = b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body
        (tmp_path / "in.jpg").write_bytes(plain[:2] + segment + plain[2:])

        assert read(tmp_path / "in.jpg").shape == (24, 16)

    @pytest.mark.filterwarnings("error")
    def test_a_damaged_orientation_is_none(self, tmp_path: Path) -> None:
        import imagecodecs

        plain = imagecodecs.jpeg_encode(np.zeros((16, 24), np.uint8))
        body = b"Exif\0\0" + exif(6, ">")[:-7]
        segment = b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body
        (tmp_path / "in.jpg").write_bytes(plain[:2] + segment + plain[2:])

        assert read(tmp_path / "in.jpg").shape == (16, 24)

    def test_inks_are_no_colours_with_opacity(self, tmp_path: Path) -> None:
        import imagecodecs

        inks = np.zeros((16, 24, 4), np.uint8)
        content = imagecodecs.jpeg_encode(inks, colorspace="CMYK", outcolorspace="CMYK")
        (tmp_path / "in.jpg").write_bytes(content)

        with pytest.raises(FileError, match="CMYK"):
            read(tmp_path / "in.jpg")


def ome_zarr(
    path: Path,
    axes: Sequence[str],
    shape: tuple[int, ...],
    *,
    unit: str = "",
    **image: object,
) -> None:
    """Write an OME-Zarr with pixels of 2 units, and whatever else is to be said."""
    group = zarr.create_group(path)
    group.create_array("0", data=pixels(*shape))
    scale = {"type": "scale", "scale": [2.0] * len(axes)}
    multiscale = {
        "axes": [{"name": name} | ({"unit": unit} if unit else {}) for name in axes],
        "datasets": [{"path": "0", "coordinateTransformations": [scale]}],
    }
    group.attrs["ome"] = {"version": "0.5", "multiscales": [multiscale], **image}


class TestZarr:
    def test_bare_array(self, tmp_path: Path) -> None:
        array = zarr.create_array(tmp_path / "in.zarr", shape=(2, 20, 24), dtype="uint8")
        array[:] = pixels(2, 20, 24, dtype="uint8")

        assert metadata_of(tmp_path / "in.zarr").axes == "QYX"

    @pytest.mark.parametrize("is_bare", [True, False])
    def test_an_axis_without_a_letter_keeps_its_name(
        self, tmp_path: Path, is_bare: bool
    ) -> None:
        names, image = ["time", "angle", "y", "x"], pixels(2, 3, 20, 24)
        if is_bare:
            array = zarr.create_array(
                tmp_path / "in.zarr",
                shape=image.shape,
                dtype=image.dtype,
                dimension_names=names,
            )
            array[:] = image
        else:
            ome_zarr(tmp_path / "in.zarr", names, image.shape)

        copy(tmp_path / "in.zarr", tmp_path / "out.zarr")

        assert io.stored_names(tmp_path / "out.zarr") == ["t", "angle", "y", "x"]
        stored = zarr.open_group(tmp_path / "out.zarr")["0"]
        assert stored.metadata.dimension_names == ("t", "angle", "y", "x")
        after = metadata_of(tmp_path / "out.zarr")
        assert (after.axes, after.axis_names) == ("TQYX", ("", "angle", "", ""))

    def test_names_of_axes_go_where_their_axes_go(self) -> None:
        before = Metadata("QTQYX", axis_names=("angle", "", "tile", "", ""))
        shape = (2, 3, 4, 20, 24)

        assert before.reordered((1, 0, 2, 3, 4)).axis_names[:3] == ("", "angle", "tile")
        assert before.select([0, 12], shape, None).axis_names == ("angle", "", "")
        assert before.select([0, 4], shape, None).axis_names == ()
        assert before.select([0, 5], shape, None).axis_names == ()
        assert before.select([0], shape, 0).axis_names == ("angle", "tile", "", "")
        assert before.with_axes("QTCYX", 5).axis_names == ("angle", "", "", "", "")
        assert before.with_axes("ZTCYX", 5).axis_names == ()

    def test_named_dimensions(self, tmp_path: Path) -> None:
        zarr.create_array(
            tmp_path / "in.zarr",
            shape=(2, 20, 24),
            dtype="uint8",
            dimension_names=["z", "y", "x"],
        )

        assert metadata_of(tmp_path / "in.zarr").axes == "ZYX"

    @pytest.mark.parametrize(
        ("names", "axes"),
        [
            (["tile", "t", "y", "x"], "QTYX"),
            (["time", "tile", "y", "x"], "TQYX"),
            (["q", "c", "channel", "y", "x", "xi"], "QCQYXQ"),
            (["", "row", "column"], "QYX"),
        ],
    )
    def test_dimensions_that_begin_alike_get_different_letters(
        self, tmp_path: Path, names: list[str], axes: str
    ) -> None:
        zarr.create_array(
            tmp_path / "in.zarr",
            shape=(2,) * len(names),
            dtype="uint8",
            dimension_names=names,
        )

        assert metadata_of(tmp_path / "in.zarr").axes == axes

    def test_dimensions_without_a_letter_share_no_spacing(self, tmp_path: Path) -> None:
        group = zarr.create_group(tmp_path / "in.zarr")
        group.create_array("0", shape=(2, 2, 20, 24), dtype="uint8")
        transforms = [
            {"type": "scale", "scale": [3.0, 7.0, 0.5, 0.5]},
            {"type": "translation", "translation": [1.0, 2.0, 0.0, 0.0]},
        ]
        multiscale = {
            "axes": [{"name": name} for name in ("angle", "pose", "y", "x")],
            "datasets": [{"path": "0", "coordinateTransformations": transforms}],
        }
        group.attrs["ome"] = {"version": "0.5", "multiscales": [multiscale]}

        found = metadata_of(tmp_path / "in.zarr")

        assert (found.axes, found.origin) == ("QQYX", {})
        assert found.scale == {"Y": 0.5, "X": 0.5}

    @pytest.mark.parametrize("unknown", [0.0, -1.0])
    def test_what_is_no_distance_is_unknown(self, tmp_path: Path, unknown: float) -> None:
        group = zarr.create_group(tmp_path / "in.zarr")
        group.create_array("0", shape=(2, 20, 24), dtype="uint8")
        scale = {"type": "scale", "scale": [unknown, 0.5, 0.5]}
        multiscale = {
            "axes": [{"name": name, "unit": "micrometer"} for name in "zyx"],
            "datasets": [{"path": "0", "coordinateTransformations": [scale]}],
        }
        group.attrs["ome"] = {"version": "0.5", "multiscales": [multiscale]}

        found = metadata_of(tmp_path / "in.zarr")

        assert found.scale == {"Y": 0.5, "X": 0.5}
        assert set(found.units) == {"Y", "X"}

    def test_version_two(self, tmp_path: Path) -> None:
        group = zarr.create_group(tmp_path / "in.zarr", zarr_format=2)
        group.create_array("0", shape=(2, 20, 24), dtype="uint8")
        before = Metadata("ZYX", {"Z": 2.0, "Y": 0.5, "X": 0.5}, {"Z": "µm", "Y": "µm"})
        io.annotate_zarr(tmp_path / "in.zarr", before, name="in")

        after = metadata_of(tmp_path / "in.zarr")
        assert (after.axes, after.scale, after.units) == (
            before.axes,
            before.scale,
            before.units,
        )

    def test_position_is_kept(self, tmp_path: Path) -> None:
        group = zarr.create_group(tmp_path / "in.zarr")
        group.create_array("0", shape=(4, 20, 24), dtype="uint8")
        inner = [
            {"type": "scale", "scale": [2.0, 0.25, 0.25]},
            {"type": "translation", "translation": [0.0, 10.0, 20.0]},
        ]
        multiscale = {
            "axes": [{"name": name, "type": "space"} for name in "zyx"],
            "datasets": [{"path": "0", "coordinateTransformations": inner}],
            "coordinateTransformations": [{"type": "scale", "scale": [1.0, 2.0, 2.0]}],
        }
        group.attrs["ome"] = {"version": "0.5", "multiscales": [multiscale]}

        copy(tmp_path / "in.zarr", tmp_path / "out.zarr")

        after = metadata_of(tmp_path / "out.zarr")
        assert after.scale == {"Z": 2.0, "Y": 0.5, "X": 0.5}
        assert after.origin == {"Y": 20.0, "X": 40.0}

    @pytest.mark.parametrize("names", [{}, {"Name": ["a", "b"]}])
    @pytest.mark.parametrize(
        ("dtype", "window"), [("int8", (-128, 127)), ("uint16", None), ("float32", None)]
    )
    def test_colours_of_ome_tiff_are_kept_there_and_back(
        self, tmp_path: Path, names: dict, dtype: str, window: tuple[int, int] | None
    ) -> None:
        # Red and half-transparent blue.
        colours = [-16776961, 65408]
        metadata = {"axes": "CYX", "Channel": {"Color": colours, **names}}
        image = pixels(2, 20, 24, dtype=dtype)
        tifffile.imwrite(tmp_path / "in.ome.tif", image, metadata=metadata)

        copy(tmp_path / "in.ome.tif", tmp_path / "there.ome.zarr")
        copy(tmp_path / "there.ome.zarr", tmp_path / "back.ome.tif")

        omero = zarr.open_group(tmp_path / "there.ome.zarr").attrs["ome"]["omero"]
        shown = omero["channels"]
        assert [channel["color"] for channel in shown] == ["FF0000", "0000FF"]
        assert [c["label"] for c in shown if "label" in c] == names.get("Name", [])
        for channel in shown:
            found = channel.get("window", {})
            assert (found.get("start"), found.get("end")) == (window or (None, None))
        back = metadata_of(tmp_path / "back.ome.tif")
        assert [c["Color"] for c in back.extra["Channel"]] == ["-16776961", "65535"]
        assert back.channel_names == tuple(names.get("Name", []))

    def test_named_channels_without_a_colour_are_white(self, tmp_path: Path) -> None:
        metadata = Metadata("CYX", channel_names=("a", "b"))

        io.save_image(tmp_path / "out.zarr", pixels(2, 20, 24), metadata)

        omero = zarr.open_group(tmp_path / "out.zarr").attrs["ome"]["omero"]
        assert [channel["color"] for channel in omero["channels"]] == ["FFFFFF"] * 2

    @pytest.mark.parametrize("colours", [["FF0000", "red"], ["FF0000", None]])
    def test_colours_that_are_none_cost_nothing_else(
        self, tmp_path: Path, colours: list
    ) -> None:
        channels = [{"label": "a", "color": colour} for colour in colours]
        ome_zarr(tmp_path / "in.zarr", "cyx", (2, 20, 24), omero={"channels": channels})

        copy(tmp_path / "in.zarr", tmp_path / "out.ome.tif")

        after = metadata_of(tmp_path / "out.ome.tif")
        assert (after.channel_names, after.channel_colours) == (("a", "a"), ())

    @pytest.mark.parametrize("labels", [["a"], ["a", "b", "c"]])
    def test_labels_that_are_not_one_a_channel_are_left_out(
        self, tmp_path: Path, labels: list[str]
    ) -> None:
        omero = {"channels": [{"label": label} for label in labels]}
        ome_zarr(tmp_path / "in.zarr", "cyx", (2, 20, 24), omero=omero)

        copy(tmp_path / "in.zarr", tmp_path / "out.ome.tif")

        assert metadata_of(tmp_path / "in.zarr").channel_names == ()
        assert metadata_of(tmp_path / "out.ome.tif").channel_names == ()

    def test_no_display_settings_are_no_reason_to_refuse(self, tmp_path: Path) -> None:
        ome_zarr(tmp_path / "in.zarr", "yx", (20, 24), omero=None)

        assert metadata_of(tmp_path / "in.zarr").axes == "YX"

    def test_group_without_image_says_so(self, tmp_path: Path) -> None:
        zarr.create_group(tmp_path / "in.zarr")

        with pytest.raises(FileError, match="no image at its top"):
            metadata_of(tmp_path / "in.zarr")

    def test_one_chunk_a_plane(self, tmp_path: Path) -> None:
        io.save_image(tmp_path / "out.zarr", pixels(2, 3, 20, 24), Metadata("TZYX"))

        assert zarr.open_group(tmp_path / "out.zarr")["0"].chunks == (1, 1, 20, 24)


class TestSelect:
    def test_axis_of_planes_keeps_its_name_and_spacing(self) -> None:
        before = Metadata("ZYX", {"Z": 0.5, "X": 0.1}, {"Z": "µm", "X": "µm"})

        after = before.select([0, 2, 4], (10, 20, 24), None)

        assert (after.axes, after.scale) == ("ZYX", {"Z": 1.0, "X": 0.1})

    def test_planes_across_several_dimensions_have_no_spacing(self) -> None:
        before = Metadata("QTYX", {"Q": 5.0, "X": 0.1}, origin={"Q": 1.0})

        after = before.select([0, 1, 2], (3, 2, 20, 24), None)

        assert (after.axes, after.scale, after.origin) == ("QYX", {"X": 0.1}, {})
        assert before.select([0, 2], (3, 2, 20, 24), None).scale["Q"] == 5.0

    def test_uneven_planes_have_no_spacing(self) -> None:
        after = Metadata("ZYX", {"Z": 0.5}).select([0, 1, 4], (10, 20, 24), None)

        assert after.scale == {}

    def test_uneven_planes_do_not_begin_anywhere_without_a_unit(self) -> None:
        size, units = {"Z": 0.5, "X": 0.1}, {"Z": "µm", "X": "µm"}
        before = Metadata("ZYX", size, units, origin={"Z": 7.0, "X": 3.0})

        after = before.select([2, 3, 6], (10, 20, 24), None)

        assert (after.units, after.origin) == ({"X": "µm"}, {"X": 3.0})

    def test_first_selected_plane_is_the_new_origin(self) -> None:
        before = Metadata("ZYX", {"Z": 0.5}, origin={"Z": 7.0, "X": 3.0})

        after = before.select([4, 6], (10, 20, 24), None)

        assert after.origin == {"Z": 9.0, "X": 3.0}

    @pytest.mark.parametrize(
        ("planes", "origin"),
        [([0, 1], {}), ([4, 6], {"Z": 2.0}), ([6, 4, 5], {"Z": 3.0})],
    )
    def test_selected_planes_lie_where_they_lay(
        self, planes: list[int], origin: dict[str, float]
    ) -> None:
        after = Metadata("ZYX", {"Z": 0.5}).select(planes, (10, 20, 24), None)

        assert after.origin == origin

    def test_larger_pixels_begin_further_inside(self) -> None:
        before = Metadata("YX", {"Y": 0.5, "X": 0.5}, origin={"Y": 10.0, "X": 20.0})

        after = before.resampled((2.0, 4.0))

        assert after.origin == {"Y": 10.25, "X": 20.75}

    def test_channels_as_planes_keep_their_names(self) -> None:
        before = Metadata("CYX", channel_names=("a", "b", "c"))

        assert before.select([2, 0], (3, 20, 24), None).channel_names == ("c", "a")

    def test_channels_within_planes_stay(self) -> None:
        before = Metadata("TCZYX", channel_names=("a", "b"))

        after = before.select([0, 5], (3, 2, 4, 20, 24), 1)

        assert (after.axes, after.channel_names) == ("QCYX", ("a", "b"))

    @pytest.mark.parametrize(
        ("planes", "axes", "scale", "origin"),
        [
            ([6], "ZYX", {"Z": 0.5}, 8.0),
            ([4, 5, 6], "ZYX", {"Z": 0.5}, 7.0),
            ([5, 7], "ZYX", {"Z": 1.0}, 7.5),
            ([1, 5, 9], "TYX", {"T": 2.0}, None),
            ([3, 4], "QYX", {}, None),
        ],
    )
    def test_planes_are_called_what_they_differ_along(
        self,
        planes: list[int],
        axes: str,
        scale: dict[str, float],
        origin: float | None,
    ) -> None:
        before = Metadata("TZYX", {"T": 2.0, "Z": 0.5}, origin={"Z": 7.0})

        after = before.select(planes, (3, 4, 20, 24), None)

        assert (after.axes, after.scale) == (axes, scale)
        assert after.origin.get("Z") == origin

    def test_one_channel_of_several_dimensions_keeps_its_name(self) -> None:
        extra = {"Channel": [{"Color": "1"}, {"Color": "2"}]}
        before = Metadata("ZCYX", channel_names=("a", "b"), extra=extra)

        after = before.select([3], (3, 2, 20, 24), None)
        assert (after.axes, after.channel_names) == ("CYX", ("b",))
        assert after.extra == {"Channel": [{"Color": "2"}]}

        after = before.select([1, 3], (3, 2, 20, 24), None)
        assert (after.axes, after.channel_names) == ("ZYX", ("b",))
        assert after.extra == {"Channel": [{"Color": "2"}]}

        after = before.select([1, 2], (3, 2, 20, 24), None)
        assert (after.axes, after.channel_names, after.extra) == ("QYX", (), {})

    @pytest.mark.parametrize(
        ("axes", "planes", "colours"),
        [
            ("CYX", [2, 1, 0], ["3", "2", "1"]),
            ("CYX", [1], ["2"]),
            ("CZYX", [2, 3], ["2"]),
            ("ZCYX", [0, 1, 2], ["1", "2", "3"]),
            ("ZCYX", [0, 4], None),
        ],
    )
    def test_display_settings_follow_their_channels(
        self, tmp_path: Path, axes: str, planes: list[int], colours: list[str] | None
    ) -> None:
        shape = tuple({"C": 3, "Z": 2, "Y": 20, "X": 24}[letter] for letter in axes)
        omero = {"channels": [{"color": colour} for colour in "123"]}
        ome_zarr(tmp_path / "in.zarr", axes.lower(), shape, omero=omero)

        after = metadata_of(tmp_path / "in.zarr").select(planes, shape, None)
        image = pixels(len(planes), 20, 24)
        io.save_image(tmp_path / "out.zarr", image, after)

        found = zarr.open_group(tmp_path / "out.zarr").attrs["ome"].get("omero")
        assert found == (colours and {"channels": [{"color": c} for c in colours]})

    @pytest.mark.parametrize(("axes", "names"), [("CYXS", ["a"]), ("YXS", [])])
    def test_samples_do_not_take_the_names_of_channels(
        self, tmp_path: Path, axes: str, names: list[str]
    ) -> None:
        shape = (1, 20, 24, 3)[-len(axes) :]
        metadata = Metadata(axes, channel_names=("a",))

        io.save_image(tmp_path / "out.zarr", pixels(*shape), metadata)

        omero = zarr.open_group(tmp_path / "out.zarr").attrs["ome"].get("omero", {})
        assert [c["label"] for c in omero.get("channels", [])] == names

    def test_ranges_follow_their_channels(self) -> None:
        before = Metadata("CYX", extra={"Ranges": (0.0, 1.0, 2.0, 3.0, 4.0, 5.0)})

        after = before.select([2, 0], (3, 20, 24), None)

        assert after.extra == {"Ranges": (4.0, 5.0, 0.0, 1.0)}

    def test_channels_that_were_none_lose_what_was_said_of_them(self) -> None:
        extra = {"omero": {"channels": [{"color": "1"}]}, "Info": "x"}
        before = Metadata("CZYX", channel_names=("a",), extra=extra)

        after = before.with_axes("ZCYX", 4)

        assert (after.channel_names, after.extra) == ((), {"Info": "x"})
        assert before.with_axes("CTYX", 4).channel_names == ("a",)

    def test_one_plane_of_several_dimensions_fits_ome_tiff(
        self, ome_file: Path, tmp_path: Path
    ) -> None:
        with io.open_image(ome_file) as source:
            shape = source.data.shape
            after = source.metadata.select([1], shape, None)
            plane = np.asarray(source.data).reshape(-1, *shape[-2:])[[1]]
        io.save_image(tmp_path / "one.ome.tif", plane, after)

        found = metadata_of(tmp_path / "one.ome.tif")
        assert found.scale == {"X": 0.065, "Y": 65.0, "Z": 0.3}

    def test_labels_follow_their_planes(self, imagej_file: Path) -> None:
        after = metadata_of(imagej_file).select([5, 7], (3, 4, 20, 24), None)

        assert after.extra["Labels"] == ["plane 5", "plane 7"]

    @pytest.mark.parametrize(
        ("planes", "channel_axis", "positions"),
        [
            ([4, 1, 2], None, ["4.0", "1.0", "2.0"]),
            ([5], None, ["5.0"]),
            # What is said of planes of one channel is not said of those of all.
            ([0, 2], 0, []),
        ],
    )
    def test_positions_follow_their_planes(
        self,
        tmp_path: Path,
        planes: list[int],
        channel_axis: int | None,
        positions: list[str],
    ) -> None:
        image = pixels(2, 3, 20, 24)
        metadata = {"axes": "CZYX", "Plane": {"PositionZ": [float(p) for p in range(6)]}}
        tifffile.imwrite(tmp_path / "in.ome.tif", image, metadata=metadata)

        after = metadata_of(tmp_path / "in.ome.tif").select(
            planes, image.shape, channel_axis
        )

        assert [row["PositionZ"] for row in after.extra.get("Plane", [])] == positions


class TestExpand:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        for name in ("a10.tif", "a2.tif", "b.png", "notes.txt", ".hidden.tif"):
            (tmp_path / name).touch()
        (tmp_path / "c.zarr").mkdir()
        return tmp_path

    def test_folder_gives_its_images_in_natural_order(self, folder: Path) -> None:
        names = [path.name for path in io.expand([folder])]

        assert names == ["a2.tif", "a10.tif", "b.png", "c.zarr"]

    def test_glob(self, folder: Path) -> None:
        assert [p.name for p in io.expand([f"{folder}/a*"])] == ["a2.tif", "a10.tif"]

    def test_each_file_once(self, folder: Path) -> None:
        paths = io.expand([folder / "b.png", folder, folder / "a2.tif"])

        assert [path.name for path in paths] == ["b.png", "a2.tif", "a10.tif", "c.zarr"]

    @pytest.mark.parametrize("text", ["missing.tif", "*.czi", "notes.txt"])
    def test_nothing_found_is_an_error(self, folder: Path, text: str) -> None:
        with pytest.raises(FileError):
            io.expand([folder / text])

    def test_empty_folder_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(FileError, match="no image in this folder"):
            io.expand([tmp_path])


class TestOutput:
    def test_existing_file_needs_permission(self, tmp_path: Path) -> None:
        target = tmp_path / "out.tif"
        target.write_bytes(b"precious")

        with pytest.raises(FileError, match="overwrite=True"):
            io.check_output(target, overwrite=False)
        with pytest.raises(FileError, match="overwrite=True"):
            io.save_image(target, pixels(20, 24), Metadata("YX"))

        assert target.read_bytes() == b"precious"
        io.check_output(target, overwrite=True)

    def test_never_the_input(self, tmp_path: Path) -> None:
        inputs = io.places([tmp_path / "." / "a.tif"])

        with pytest.raises(FileError, match="is an input"):
            io.check_output(tmp_path / "a.tif", overwrite=True, inputs=inputs)

    def test_never_what_holds_an_input(self, tmp_path: Path) -> None:
        zarr.create_group(tmp_path / "plate.zarr").create_group("a")
        inputs = io.places([tmp_path / "plate.zarr" / "a"])

        with pytest.raises(FileError, match=r"holds .*an input"):
            io.check_output(tmp_path / "plate.zarr", overwrite=True, inputs=inputs)

    def test_never_inside_a_zarr(self, tmp_path: Path) -> None:
        zarr.create_group(tmp_path / "plate.zarr")

        with pytest.raises(FileError, match="inside the zarr"):
            io.check_output(tmp_path / "plate.zarr" / "out.tif", overwrite=True)

    def test_folder_that_is_no_zarr_is_not_replaced(self, tmp_path: Path) -> None:
        folder = tmp_path / "precious.zarr"
        folder.mkdir()
        io.check_output(folder, overwrite=True)
        (folder / "thesis.txt").touch()

        with pytest.raises(FileError, match="something else than a zarr"):
            io.check_output(folder, overwrite=True)

    def test_unknown_type(self, tmp_path: Path) -> None:
        with pytest.raises(FileError, match="cannot write this type"):
            io.check_output(tmp_path / "out.jpg", overwrite=False)

    def test_unfinished_results_do_not_get_in_each_others_way(self, tmp_path: Path) -> None:
        names = ["cells.tif", "cells.ome.tif", "cells.zarr", "cells.ome.zarr"]
        places = {io.partial_path(tmp_path / name) for name in names}

        assert len(places) == len(names)
        for place in places:
            zarr.create_group(place)
        with pytest.raises(FileError, match="no image"):
            io.expand([tmp_path])

    def test_folder_that_cannot_be(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()

        with pytest.raises(FileError, match="cannot write here"):
            io.check_output(tmp_path / "file" / "out.tif", overwrite=False)

    def test_failure_leaves_nothing_behind(self, tmp_path: Path) -> None:
        def write_half() -> None:
            with io.replacing(tmp_path / "out.tif", overwrite=False) as temporary:
                temporary.write_bytes(b"half")
                raise RuntimeError

        with pytest.raises(RuntimeError):
            write_half()

        assert os.listdir(tmp_path) == []

    def test_what_killed_runs_left_is_swept(self, tmp_path: Path) -> None:
        for name in (".0123abcd-out.tif", ".0123abcd-other.tif", ".notes-out.tif"):
            (tmp_path / name).touch()

        io.save_image(tmp_path / "out.tif", pixels(20, 24), Metadata("YX"))

        assert sorted(os.listdir(tmp_path)) == [
            ".0123abcd-other.tif",
            ".notes-out.tif",
            "out.tif",
        ]

    @pytest.mark.parametrize(
        "error",
        [
            OSError(errno.ENOSPC, "No space left on device"),
            OSError("16384 requested and 5936 written"),
        ],
    )
    def test_full_disk_is_called_that(self, tmp_path: Path, error: OSError) -> None:
        with (
            pytest.raises(FileError, match="the disk is full"),
            io.replacing(tmp_path / "out.tif", overwrite=False),
        ):
            raise error

    @pytest.mark.parametrize("error", [IndexError, struct.error, tifffile.OmeXmlError])
    def test_writer_that_fails_is_one_clear_error(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
    ) -> None:
        def fail(*_: object, **__: object) -> None:
            raise error("odd")

        monkeypatch.setattr(tifffile, "imwrite", fail)

        with pytest.raises(FileError, match=r"out\.tif: cannot be written \(odd\)"):
            io.save_image(tmp_path / "out.tif", pixels(20, 24), Metadata("YX"))
        assert os.listdir(tmp_path) == []

    def test_memory_that_ends_while_writing_is_told_as_that(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object, **__: object) -> None:
            raise MemoryError

        monkeypatch.setattr(tifffile, "imwrite", fail)

        with pytest.raises(MemoryError):
            io.save_image(tmp_path / "out.tif", pixels(20, 24), Metadata("YX"))

    @pytest.mark.parametrize("name", ["out.tif", "out.png", "out.zarr"])
    def test_replaces_when_told_to(self, tmp_path: Path, name: str) -> None:
        for fill in (1, 2):
            image = np.full((20, 24), fill, np.uint8)
            io.save_image(tmp_path / name, image, Metadata("YX"), overwrite=True)

        assert (read(tmp_path / name) == 2).all()
        assert os.listdir(tmp_path) == [name]


def test_axes_can_be_told(imagej_file: Path) -> None:
    with io.open_image(imagej_file, axes="ctyx") as source:
        assert source.metadata.axes == "CTYX"


@pytest.mark.parametrize("axes", ["YX", "ZZYX", "TCZS"])
def test_axes_must_fit(imagej_file: Path, axes: str) -> None:
    with pytest.raises(FileError, match="axes="), io.open_image(imagej_file, axes=axes):
        pass


@pytest.mark.parametrize("name", ["empty.tif", "empty.png", "empty.jpg"])
def test_empty_file_is_one_clear_error(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()

    with pytest.raises(FileError, match=f"{name}: not a readable"):
        metadata_of(tmp_path / name)


@pytest.mark.parametrize("dialect", [{"imagej": True}, {"ome": True}, {"bigtiff": True}])
def test_file_that_is_cut_off_is_one_clear_error(tmp_path: Path, dialect: dict) -> None:
    path = tmp_path / "in.tif"
    metadata = {"axes": "ZYX"}
    tifffile.imwrite(
        path, pixels(6, 20, 24), **dialect, photometric="minisblack", metadata=metadata
    )
    whole = path.read_bytes()
    with tifffile.TiffFile(path) as tif:
        second = tif.pages[1].offset
    path.write_bytes(whole[: second - 1])

    with pytest.raises(FileError, match="is cut off"):
        metadata_of(path)


def test_imagej_stack_of_one_long_page_that_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "in.tif"
    tifffile.imwrite(path, pixels(6, 20, 24), imagej=True, metadata={"axes": "ZYX"})
    with tifffile.TiffFile(path) as tif:
        first, second = tif.pages[0], tif.pages[1].offset
        next_offset = first.offset + 2 + 12 * len(first.tags)
    content = bytearray(path.read_bytes()[: second - 1])
    content[next_offset : next_offset + 4] = bytes(4)
    path.write_bytes(content)

    with pytest.raises(FileError, match="announces 6 pages and holds 1"):
        metadata_of(path)


def test_missing_planes_are_mentioned(ome_file: Path) -> None:
    content = ome_file.read_bytes()
    ome_file.write_bytes(content.replace(b'SizeZ="5"', b'SizeZ="7"'))

    with io.open_image(ome_file) as source:
        assert "lacks" in source.notes[0]


YX = [{"name": "y"}, {"name": "x"}]


@pytest.mark.parametrize(
    "multiscales",
    [
        {"axes": YX, "datasets": [{"path": "0"}]},
        "pixels",
        [{"axes": YX, "datasets": "0"}],
        [{"axes": [{"type": "space"}] * 2, "datasets": [{"path": "0"}]}],
        [{"axes": [{"name": "z"}, *YX], "datasets": [{"path": "0"}]}],
        [
            {
                "axes": YX,
                "datasets": [
                    {
                        "path": "0",
                        "coordinateTransformations": [
                            {"type": "scale", "scale": ["a", "b"]}
                        ],
                    }
                ],
            }
        ],
    ],
)
def test_damaged_ome_zarr_is_one_clear_error(tmp_path: Path, multiscales: object) -> None:
    group = zarr.create_group(tmp_path / "in.zarr")
    group.create_array("0", shape=(20, 24), dtype="u1")
    group.attrs["ome"] = {"version": "0.5", "multiscales": multiscales}

    with pytest.raises(FileError, match=r"in\.zarr: its OME metadata"):
        metadata_of(tmp_path / "in.zarr")


def test_size_that_is_no_number_does_not_cost_the_pixels(tmp_path: Path) -> None:
    metadata = {"axes": "ZYX", "unit": "um", "spacing": "abc", "finterval": "abc"}
    tifffile.imwrite(
        tmp_path / "in.tif",
        pixels(3, 20, 24),
        imagej=True,
        resolution=(10, 10),
        metadata=metadata,
    )

    with io.open_image(tmp_path / "in.tif") as source:
        assert set(source.metadata.scale) == {"X", "Y"}
        assert [note.split()[0] for note in source.notes] == ["spacing", "finterval"]


@pytest.mark.parametrize("name", ["broken.tif", "broken.png", "broken.zarr"])
def test_broken_file_is_one_clear_error(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name.endswith("zarr"):
        path.mkdir()
    else:
        path.write_bytes(b"this is no image")

    with pytest.raises(FileError, match="not a readable"):
        metadata_of(path)
