"""The manifest is valid, complete, and finds its functions."""

from __future__ import annotations

import importlib
import importlib.metadata
import subprocess
import sys

import pytest
from npe2 import PluginManifest

from napari_msdip.options import PRESETS, declared_options


@pytest.fixture(scope="module")
def manifest():
    return PluginManifest.from_distribution("napari-msdip")


def test_the_manifest_passes_npe2s_own_check():
    path = importlib.resources.files("napari_msdip") / "napari.yaml"
    command = [sys.executable, "-m", "npe2", "validate", "--imports", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_command_is_ours_and_leads_somewhere(manifest):
    for command in manifest.contributions.commands:
        assert command.id.startswith("napari-msdip.")
        module, name = command.python_name.split(":")
        assert callable(getattr(importlib.import_module(module), name))


def test_every_widget_is_found_under_plugins_and_under_layers(manifest):
    widgets = {widget.command for widget in manifest.contributions.widgets}
    menus = manifest.contributions.menus
    entries = {item.command for items in menus.values() for item in items}
    assert widgets == entries
    assert "napari-msdip.denoise" in {
        item.command for item in menus["napari/layers/filter"]
    }


def test_preferences_offer_what_the_options_offer(manifest):
    settings = manifest.contributions.configurations["defaults"].properties
    device = next(option for option in declared_options() if option.name == "device")
    assert tuple(settings["preset"].enum) == PRESETS
    assert tuple(settings["device"].enum) == device.choices
    assert settings["preset"].default == PRESETS[0]
    assert settings["device"].default == device.default


def test_the_manifest_is_the_installed_entry_point():
    (entry,) = importlib.metadata.entry_points(group="napari.manifest", name="napari-msdip")
    assert entry.value == "napari_msdip:napari.yaml"
