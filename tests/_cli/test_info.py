"""What a bug report should say is there."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
from tests._cli.helpers import FakeEngine, run

if TYPE_CHECKING:
    import pytest


def test_info_tells_versions_and_devices(
    fake: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(fake, "info", "--json") == 0

    info = json.loads(capsys.readouterr().out)
    assert info["versions"]["numpy"] == np.__version__
    assert "cpu" in info["devices"]
    assert "VGG-16 weights" in info
