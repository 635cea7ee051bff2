from __future__ import annotations

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


def test_unknown_columns_and_foreign_tables_are_refused(tmp_path):
    table = tmp_path / "rows.csv"
    with pytest.raises(ValueError, match="quality"):
        results.append(table, {"key": "a", "quality": 1})
    table.write_text("name,price\nspoon,3\n")
    with pytest.raises(ValueError, match="another version"):
        results.read(table)
    with pytest.raises(ValueError, match="another version"):
        results.append(table, {"key": "a"})
