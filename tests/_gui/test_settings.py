"""The form starts with what the user set in napari's Preferences."""

from __future__ import annotations

import sys

import pytest

from napari_msdip._gui.settings import preferred_options
from napari_msdip.options import Options


def test_preset_and_device_come_from_the_preferences(preferences):
    preferences.preset = "balanced"
    preferences.device = "cpu"
    assert preferred_options() == Options.preset("balanced").replace(device="cpu")


@pytest.mark.parametrize("missing", ["plugin", "napari"])
def test_without_preferences_there_are_defaults(npe2pm, monkeypatch, missing):
    from napari import settings

    settings._clear_plugin_settings_cache()
    if missing == "napari":
        # As napari before 0.9 is.
        monkeypatch.delattr(settings, "get_plugin_settings")
    assert "napari-msdip" not in npe2pm
    assert preferred_options() == Options()
    settings._clear_plugin_settings_cache()
    assert "napari.settings" in sys.modules
