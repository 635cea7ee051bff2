"""The form shows every declared option and gives back exactly what it was given."""

from __future__ import annotations

import pytest
from qtpy.QtCore import Qt

from napari_msdip._gui.form import CUSTOM, OptionsForm
from napari_msdip.options import PRESETS, Options, declared_options


@pytest.fixture
def form(qtbot):
    form = OptionsForm()
    qtbot.addWidget(form.native)
    return form


def test_every_option_has_a_field_with_its_label_and_help(form):
    for option in declared_options():
        field = form.field(option.name)
        assert field.label == option.setting.label
        assert field.tooltip == option.setting.help


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_survives_the_form_to_the_last_digit(form, preset):
    form.preset.value = preset
    assert form.chosen() == Options.preset(preset)
    assert form.preset.value == preset


def test_any_options_survive_the_form(form):
    options = Options(seed=7, device="cpu", threads=3, max_scales=2, fixed_weight=0.0)
    form.fill(options)
    assert form.chosen() == options
    assert form.preset.value == CUSTOM


@pytest.mark.parametrize(
    "option", [option for option in declared_options() if option.optional]
)
def test_auto_is_a_value_of_optional_fields(form, option):
    form.fill(Options().replace(**{option.name: None}))
    assert getattr(form.chosen(), option.name) is None


@pytest.mark.parametrize(
    "option",
    [o for o in declared_options() if o.optional and o.type in (int, float)],
)
def test_auto_is_what_optional_numbers_show_below_their_minimum(form, option):
    field = form.field(option.name)
    field.value = field.max
    assert getattr(form.chosen(), option.name) == option.setting.maximum
    field.value = field.min
    assert getattr(form.chosen(), option.name) is None
    assert field.native.text() == "auto"


def test_an_edit_makes_the_preset_custom_and_undoing_it_brings_it_back(form):
    field = form.field("iterations")
    before = field.value
    field.value = before + 1
    assert form.preset.value == CUSTOM
    assert form.chosen() == Options(iterations=before + 1)
    field.value = before
    assert form.preset.value == PRESETS[0]


def test_choosing_custom_changes_nothing(form):
    form.preset.value = CUSTOM
    assert form.preset.value == PRESETS[0]


def test_a_preset_leaves_seed_and_device_alone(form):
    form.fill(Options(seed=5, device="cpu"))
    form.preset.value = "paper"
    assert form.chosen() == Options.preset("paper").replace(seed=5, device="cpu")
    assert form.preset.value == "paper"


@pytest.mark.parametrize("text", ["8, 16, 32", "8 16 32", "8,16,32"])
def test_several_numbers_are_typed_with_commas_or_spaces(form, text):
    form.field("widths").value = text
    assert form.chosen().widths == (8, 16, 32)


@pytest.mark.parametrize("text", ["8, many", "", "1"])
def test_wrong_numbers_are_refused_by_name(form, text):
    form.field("widths").value = text
    with pytest.raises(ValueError, match="widths"):
        form.chosen()


def test_every_edit_is_announced_once_per_preset(form):
    heard = []
    form.changed.connect(heard.append)
    form.preset.value = "paper"
    assert heard
    heard.clear()
    form.field("seed").value = 3
    assert heard


def test_advanced_options_are_folded_away_until_asked_for(form, qtbot):
    form.native.show()
    assert not form.field("seed").native.isVisible()
    assert form.field("device").native.isVisible()
    qtbot.mouseClick(form.fold.native, Qt.MouseButton.LeftButton)
    assert form.field("seed").native.isVisible()
    qtbot.mouseClick(form.fold.native, Qt.MouseButton.LeftButton)
    assert not form.field("seed").native.isVisible()


def test_the_wheel_scrolls_past_a_field_that_has_no_focus(form, wheel):
    form.native.show()
    form.unfold(True)
    for name in ("iterations", "learning_rate", "device"):
        native = form.field(name).native
        before = form.chosen()
        native.clearFocus()
        wheel(native)
        assert form.chosen() == before
