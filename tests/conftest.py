"""Settings shared by all tests."""

from __future__ import annotations

import os

# A busy thread slows every other one down, so none may ask for more than two.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "2")

import pytest


@pytest.fixture(autouse=True)
def _few_threads() -> None:
    """Keep torch at two threads, also after a test that raised the number."""
    import torch

    if torch.get_num_threads() > 2:
        torch.set_num_threads(2)
