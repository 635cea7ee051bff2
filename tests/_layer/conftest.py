"""The engine that layers are denoised by in tests."""

from __future__ import annotations

import pytest
from tests.fake_engine import FakeEngine


@pytest.fixture
def engine():
    """Return an engine that needs no torch and is done at once."""
    return FakeEngine()
