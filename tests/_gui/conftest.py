"""Fixtures for the dock widgets: a real viewer, and no thread left over."""

from __future__ import annotations

import pytest
from qtpy.QtCore import QCoreApplication, QPoint, QPointF, Qt, QThreadPool
from qtpy.QtGui import QWheelEvent


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    """Return a viewer that tells of widgets that outlive it."""
    return make_napari_viewer_proxy(strict_qt="raise")


@pytest.fixture
def click(qtbot):
    """Return a function that clicks on a button."""

    def press(button):
        qtbot.mouseClick(button.native, Qt.MouseButton.LeftButton)

    return press


@pytest.fixture
def wheel():
    """Return a function that turns the wheel over a Qt widget, away from the user."""

    def turn(native):
        centre = native.rect().center()
        event = QWheelEvent(
            QPointF(centre),
            QPointF(native.mapToGlobal(centre)),
            QPoint(0, 0),
            QPoint(0, -120),
            Qt.MouseButton.NoButton,
            Qt.KeyboardModifier.NoModifier,
            Qt.ScrollPhase.NoScrollPhase,
            False,
        )
        QCoreApplication.sendEvent(native, event)

    return turn


@pytest.fixture(autouse=True)
def _no_thread_is_left():
    """Fail if a worker still runs when a test has ended and its viewer is gone."""
    yield
    pool = QThreadPool.globalInstance()
    QCoreApplication.processEvents()
    assert pool.waitForDone(5000), "a worker thread is still running"


@pytest.fixture
def preferences(tmp_path, npe2pm, monkeypatch):
    """Return the plugin's Preferences, kept out of the real configuration."""
    from napari import settings
    from npe2 import PluginManifest

    monkeypatch.setattr(settings, "_CFG_PATH", str(tmp_path / "settings.yaml"))
    settings._clear_plugin_settings_cache()
    npe2pm.register(PluginManifest.from_distribution("napari-msdip"))
    yield settings.get_plugin_settings("napari-msdip").defaults
    settings._clear_plugin_settings_cache()
