from __future__ import annotations

import os

import pytest

from benchmarks import results


def test_key_ignores_order_and_sees_every_value():
    key = results.key_of({"a": 1, "b": {"c": [1, 2], "d": None}})
    assert key == results.key_of({"b": {"d": None, "c": [1, 2]}, "a": 1})
    assert key != results.key_of({"a": 1, "b": {"c": [2, 1], "d": None}})
    assert key != results.key_of({"a": 1, "b": {"c": [1, 2], "d": 0}})


def test_rows_come_back_and_missing_columns_stay_empty(tmp_path):
    table = tmp_path / "deep" / "rows.csv"
    results.append(table, {"key": "a", "image": 'odd, "name"', "psnr": 1 / 3})
    results.append(table, {"key": "b"})
    first, second = results.read(table)
    assert first["image"] == 'odd, "name"'
    assert float(first["psnr"]) == pytest.approx(1 / 3, abs=1e-6)
    assert second["psnr"] == ""


def test_of_equal_keys_the_last_counts(tmp_path):
    table = tmp_path / "rows.csv"
    for value in (1.0, 2.0):
        results.append(table, {"key": "a", "psnr": value})
    (row,) = results.read(table)
    assert row["psnr"] == "2"


def test_no_file_has_no_rows(tmp_path):
    assert results.read(tmp_path / "none.csv") == []


@pytest.fixture
def torn(tmp_path):
    """Make a table of two rows, of whose last line so many bytes are left."""

    def tear(kept):
        table = tmp_path / "rows.csv"
        table.unlink(missing_ok=True)
        results.append(table, {"key": "a", "psnr": 1.0, "version": "1"})
        whole = table.stat().st_size
        results.append(table, {"key": "b", "image": 'the "odd", größte', "psnr": 2.0})
        data = table.read_bytes()
        table.write_bytes(data[: whole + kept])
        return table

    return tear


@pytest.mark.parametrize("kept", range(1, 30))
def test_a_torn_line_costs_no_row_but_its_own(torn, kept):
    table = torn(kept)
    assert [row["key"] for row in results.read(table)] == ["a"]
    results.append(table, {"key": "c", "psnr": 3.0, "version": "1"})
    first, second = results.read(table)
    assert (first["key"], first["psnr"], first["version"]) == ("a", "1", "1")
    assert (second["key"], second["psnr"], second["version"]) == ("c", "3", "1")


def test_a_line_with_more_than_the_columns_is_left_out(tmp_path):
    table = tmp_path / "rows.csv"
    for key in "ab":
        results.append(table, {"key": key, "version": "1"})
    first, second, third = table.read_text().splitlines()
    table.write_text("\n".join([first, second + third, third, ""]))
    assert [row["key"] for row in results.read(table)] == ["b"]


def test_a_row_is_written_whole_by_a_disk_that_takes_little_at_a_time(
    tmp_path, monkeypatch
):
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:7]))
    table = tmp_path / "rows.csv"
    results.append(table, {"key": "a", "note": "x" * 50_000, "version": "1"})
    (row,) = results.read(table)
    assert (len(row["note"]), row["version"]) == (50_000, "1")


def test_unknown_columns_and_foreign_tables_are_refused(tmp_path):
    table = tmp_path / "rows.csv"
    with pytest.raises(ValueError, match="quality"):
        results.append(table, {"key": "a", "quality": 1})
    table.write_text("name,price\nspoon,3\n")
    with pytest.raises(ValueError, match="another version"):
        results.read(table)
    with pytest.raises(ValueError, match="another version"):
        results.append(table, {"key": "a"})
