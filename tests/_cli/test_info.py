"""What a bug report should say is there."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from tests._cli.helpers import FakeEngine, run


def test_info_tells_versions_and_devices(
    fake: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(fake, "info", "--json") == 0

    info = json.loads(capsys.readouterr().out)
    assert info["versions"]["numpy"] == np.__version__
    assert "cpu" in info["devices"]
    assert "VGG-16 weights" in info


@pytest.mark.parametrize("error", [ImportError, OSError, RuntimeError])
def test_pytorch_that_is_broken_is_a_finding(
    fake: FakeEngine,
    error: type[Exception],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def broken(name: str, *rest: object) -> None:
        if name == "torch":
            raise error("libcudart.so.12: no such file")

    monkeypatch.delitem(sys.modules, "torch", raising=False)
    finder = SimpleNamespace(find_spec=broken)
    monkeypatch.setattr(sys, "meta_path", [finder, *sys.meta_path])

    assert run(fake, "info", "--json") == 0

    info = json.loads(capsys.readouterr().out)
    assert "libcudart.so.12" in info["devices"]["error"]
    assert info["versions"]["numpy"] == np.__version__
