"""The user's Preferences for this plugin."""

from __future__ import annotations

from napari_msdip.options import PRESETS, Options

__all__ = ["preferred_options"]


def preferred_options() -> Options:
    """Return the options of the preset and device set in napari's Preferences.

    napari before 0.9 has no such settings, and a plugin that is not installed has
    none either: then the defaults.
    """
    try:
        from napari.settings import get_plugin_settings

        chosen = get_plugin_settings("napari-msdip").defaults
    except (ImportError, KeyError, AttributeError):
        return Options()
    preset = chosen.preset if chosen.preset in PRESETS else PRESETS[0]
    options = Options.preset(preset)
    try:
        return options.replace(device=chosen.device)
    except ValueError:
        return options
