"""Names of files: which are read, which may be written, and what a kill leaves of them."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_msdip import io
from napari_msdip.io import FileError, Metadata
from napari_msdip.io._paths import discard

if TYPE_CHECKING:
    from pathlib import Path


def test_digits_that_are_no_numbers_are_sorted_all_the_same(tmp_path: Path) -> None:
    for name in ("1²2.tif", "1a2.tif", "10.tif", "٣.tif"):
        (tmp_path / name).touch()

    assert {path.name for path in io.expand([tmp_path])} == set(os.listdir(tmp_path))


@pytest.mark.parametrize("named", ["cells.czi", "", "*.czi"])
def test_who_has_files_of_a_microscope_is_told_how_to_go_on(
    tmp_path: Path, named: str
) -> None:
    (tmp_path / "cells.czi").touch()

    with pytest.raises(FileError, match=r"\.tif .*; export others as OME-TIFF"):
        io.expand([tmp_path / named])


@pytest.mark.parametrize("stem", ["a", "a.b", "a\nb"])
@pytest.mark.parametrize("suffix", [".tif", ".ome.tif"])
def test_stem_may_have_any_letter(tmp_path: Path, stem: str, suffix: str) -> None:
    assert io.split_suffix(tmp_path / f"{stem}{suffix}") == (stem, suffix)


def test_only_unfinished_stacks_are_no_images(tmp_path: Path) -> None:
    names = ["cells.partial.tif", "cells.partial.zarr", "b.partial.ome.tif"]
    for name in names:
        (tmp_path / name).touch() if name.endswith("tif") else (tmp_path / name).mkdir()
    io.partial_path(tmp_path / "cells.tif").mkdir()

    assert {path.name for path in io.expand([tmp_path])} == set(names)
    assert io.expand([tmp_path / names[0]]) == [tmp_path / names[0]]


@pytest.mark.parametrize("pattern", ["", "*", "[abc].*"])
@pytest.mark.parametrize("to", ["missing", "b.tif"])
def test_link_that_leads_nowhere_fails_by_name(
    tmp_path: Path, pattern: str, to: str
) -> None:
    (tmp_path / "a.tif").touch()
    (tmp_path / "b.tif").symlink_to(tmp_path / to)
    (tmp_path / "c.txt").symlink_to(tmp_path / to)

    found = io.expand([tmp_path / pattern])

    assert found == [tmp_path / "a.tif", tmp_path / "b.tif"]
    assert tmp_path / "b.tif" in io.places(found).values()
    with pytest.raises(FileError, match=r"b\.tif: is a link"), io.open_image(found[1]):
        pass


def test_hidden_file_is_meant_only_if_it_is_named(tmp_path: Path) -> None:
    for name in (".hidden.tif", "seen.tif"):
        (tmp_path / name).touch()

    assert io.expand([tmp_path / ".hidden.tif"]) == [tmp_path / ".hidden.tif"]
    assert io.expand([tmp_path]) == [tmp_path / "seen.tif"]


@pytest.mark.parametrize("pattern", ["day*", "day*/*.tif", "**", "**/*"])
def test_pattern_may_name_folders(tmp_path: Path, pattern: str) -> None:
    for name in ("day1", "day2", "day3"):
        (tmp_path / name).mkdir()
    images = [tmp_path / "day1" / "a.tif", tmp_path / "day2" / "a.tif"]
    for path in images:
        path.touch()
    notes: list[str] = []

    assert io.expand([f"{tmp_path}/{pattern}"], notes.append) == images
    assert notes == []


class TestCheckOutput:
    @pytest.mark.parametrize("name", ["out.tif", "out.zarr"])
    def test_folders_are_made_when_there_is_something_for_them(
        self, tmp_path: Path, name: str
    ) -> None:
        target = tmp_path / "new" / "folder" / name
        io.check_output(target, overwrite=False)
        assert os.listdir(tmp_path) == []

        io.save_image(target, np.zeros((20, 24), np.uint8), Metadata("YX"))

        assert target.exists()

    def test_file_in_the_place_of_a_zarr(self, tmp_path: Path) -> None:
        (tmp_path / "out.zarr").touch()

        with pytest.raises(FileError, match=r"is a file, .* delete it"):
            io.check_output(tmp_path / "out.zarr", overwrite=True)

    @pytest.mark.skipif(not hasattr(os, "pathconf"), reason="asks for the limit")
    def test_room_for_the_names_while_it_is_written(self, tmp_path: Path) -> None:
        longest = os.pathconf(tmp_path, "PC_NAME_MAX")
        for length in range(longest - 40, longest + 1):
            path = tmp_path / f"{'n' * (length - 4)}.tif"
            try:
                io.check_output(path, overwrite=False)
            except FileError as error:
                assert "too long, as it gets 27 characters more" in str(error)
                break
            with io.replacing(io.partial_path(path), overwrite=False) as temporary:
                temporary.touch()

        assert length == longest - 26


class TestReplaced:
    def test_a_folder_stays_if_another_cannot_take_its_place(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        target, old, new = tmp_path / "out.zarr", np.zeros((8, 9)), np.ones((8, 9))
        io.save_image(target, old, Metadata("YX"))
        replace = os.replace
        refusals = iter([PermissionError(13, "In use")])

        def refusing(path: Path, to: Path) -> None:
            if to == target:
                for refusal in refusals:
                    raise refusal
            replace(path, to)

        monkeypatch.setattr(os, "replace", refusing)
        with pytest.raises(FileError, match="In use"):
            io.save_image(target, new, Metadata("YX"), overwrite=True)

        with io.open_image(target) as source:
            np.testing.assert_array_equal(source.data[:], old)
        assert os.listdir(tmp_path) == ["out.zarr"]


class TestPowerCut:
    @pytest.mark.skipif(os.name == "nt", reason="syncs no folders")
    @pytest.mark.parametrize("before", [False, True])
    @pytest.mark.parametrize("name", ["out.tif", "out.png", "out.zarr"])
    def test_result_is_on_disk_before_it_has_its_name_and_its_name_with_it(
        self,
        tmp_path: Path,
        name: str,
        before: bool,
        durable: set[int],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        target, image = tmp_path / name, np.ones((20, 24), np.uint8)
        if before:
            io.save_image(target, image, Metadata("YX"))
        replace, renamed = os.replace, []

        def checking(path: Path, to: Path) -> None:
            if to == target:
                renamed.append(path)
                for written in (path, *path.rglob("*")):
                    assert written.stat().st_ino in durable
                durable.clear()
            replace(path, to)

        monkeypatch.setattr(os, "replace", checking)
        io.save_image(target, image, Metadata("YX"), overwrite=True)

        assert len(renamed) == 1
        assert tmp_path.stat().st_ino in durable

    @pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
    def test_folder_that_cannot_be_synced_costs_no_result(
        self, tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fsync = os.fsync

        def refusing(descriptor: int) -> None:
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                raise OSError(number, os.strerror(number))
            fsync(descriptor)

        monkeypatch.setattr(os, "fsync", refusing)
        io.save_image(tmp_path / "out.tif", np.ones((20, 24), np.uint8), Metadata("YX"))

        assert os.listdir(tmp_path) == ["out.tif"]

    def test_disk_that_fails_gives_no_result(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def failing(descriptor: int) -> None:
            raise OSError(errno.EIO, "Input/output error")

        monkeypatch.setattr(os, "fsync", failing)
        image = np.ones((20, 24), np.uint8)

        with pytest.raises(FileError, match=r"out\.tif: cannot write \(Input/output"):
            io.save_image(tmp_path / "out.tif", image, Metadata("YX"))

        assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["out.tif", "out.zarr"])
class TestLinks:
    @pytest.fixture
    def link(self, tmp_path: Path, name: str) -> Path:
        (tmp_path / "far").mkdir()
        link = tmp_path / name
        link.symlink_to(tmp_path / "far" / name)
        return link

    def test_it_stays_and_what_it_leads_to_is_replaced(self, link: Path) -> None:
        for fill in (1, 2):
            image = np.full((20, 24), fill, np.uint8)
            io.check_output(link, overwrite=True)
            io.save_image(link, image, Metadata("YX"), overwrite=True)
            assert link.is_symlink()
            with io.open_image(link.parent / "far" / link.name) as source:
                assert (np.asarray(source.data) == fill).all()
        assert os.listdir(link.parent / "far") == [link.name]

    def test_it_is_followed_to_the_end_of_a_stack(self, link: Path) -> None:
        finished = io.partial_path(link)
        finished.mkdir()

        io.name_finished(finished, link, overwrite=True)

        assert link.is_symlink()
        assert os.listdir(link.parent / "far") == [link.name]
        assert sorted(os.listdir(link.parent)) == ["far", link.name]

    def test_one_that_leads_nowhere_needs_permission_too(self, link: Path) -> None:
        with pytest.raises(FileError, match="exists already"):
            io.check_output(link, overwrite=False)
        with pytest.raises(FileError, match="exists already"):
            io.save_image(link, np.zeros((20, 24), np.uint8), Metadata("YX"))

        assert not link.exists()


class TestDiscard:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        folder = tmp_path / "store"
        (folder / "inner").mkdir(parents=True)
        (folder / "inner" / "file").touch()
        return folder

    def test_nothing_is_left(self, folder: Path) -> None:
        discard(folder)
        discard(folder)

        assert os.listdir(folder.parent) == []

    def test_a_kill_takes_the_name_first_and_the_rest_is_swept(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Killed(BaseException):
            pass

        def dying(path: Path) -> None:
            raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(shutil, "rmtree", dying)
            with pytest.raises(Killed):
                discard(folder)
        assert not folder.exists()
        discard(folder)

        assert os.listdir(folder.parent) == []

    def test_what_the_system_refuses_is_said(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refusing(*paths: Path) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(os, "replace", refusing)

        with pytest.raises(FileError, match=r"store: cannot be removed \(Permission"):
            discard(folder)
