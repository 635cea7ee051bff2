"""Options: each is checked against its one declaration, and the error names it."""

from __future__ import annotations

import dataclasses
import inspect
import json
import pickle
import typing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_msdip.options import PRESETS, Option, Options, as_options, declared_options

DECLARED = declared_options()
NUMBERS = [option for option in DECLARED if option.type in (int, float)]
WORDS = [option for option in DECLARED if option.choices]


def named(options: list[Option] | tuple[Option, ...]) -> Any:
    return pytest.mark.parametrize("option", options, ids=lambda option: option.name)


def valued(option: Option, value: Any) -> dict[str, Any]:
    return {option.name: (value,) if option.is_tuple else value}


def test_every_field_is_declared_in_order() -> None:
    assert [o.name for o in DECLARED] == [f.name for f in dataclasses.fields(Options)]


def test_a_file_may_be_given_as_a_path() -> None:
    options = Options(vgg_weights=Path("folder") / "vgg16.pth")
    assert options == Options(vgg_weights=str(Path("folder") / "vgg16.pth"))
    assert isinstance(options.vgg_weights, str)
    with pytest.raises(TypeError, match=r"^vgg_weights=16: give a str"):
        Options(vgg_weights=16)
    with pytest.raises(ValueError, match=r"^padding="):
        Options(padding=Path("zeros"))


@named(DECLARED)
def test_declaration_says_what_a_person_needs(option: Option) -> None:
    assert option.setting.label
    assert option.setting.help.endswith(".")
    assert option.setting.group
    assert option.default == getattr(Options(), option.name)
    assert option.type in (bool, int, float, str)


@named(NUMBERS)
def test_numbers_have_limits_that_hold(option: Option) -> None:
    low, high = option.setting.minimum, option.setting.maximum
    assert low is not None
    assert high is not None

    for limit in (low, high):
        found = getattr(Options(**valued(option, limit)), option.name)
        assert found == ((limit,) if option.is_tuple else limit)
    for outside in (low - 1, high + 1):
        with pytest.raises(ValueError, match=rf"^{option.name}="):
            Options(**valued(option, outside))


@named(NUMBERS)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_are_finite(option: Option, value: float) -> None:
    with pytest.raises(ValueError, match=rf"^{option.name}="):
        Options(**valued(option, value))


@named(NUMBERS)
@pytest.mark.parametrize("value", ["many", True, np.True_, np.array(True), [3], np.ones(2)])
def test_numbers_are_numbers(option: Option, value: Any) -> None:
    with pytest.raises(TypeError, match=rf"^{option.name}="):
        Options(**valued(option, value))


@named([option for option in DECLARED if option.type is int])
def test_whole_numbers_are_whole(option: Option) -> None:
    inside = (option.setting.minimum or 0) + 0.5
    with pytest.raises(ValueError, match=rf"^{option.name}=.*whole number"):
        Options(**valued(option, inside))


@named(NUMBERS)
def test_numpy_numbers_become_plain_ones(option: Option) -> None:
    value = np.float64(option.setting.maximum)
    found = getattr(Options(**valued(option, value)), option.name)
    assert type(found[0] if option.is_tuple else found) is option.type


@named(WORDS)
def test_words_are_among_the_choices(option: Option) -> None:
    for choice in option.choices:
        assert getattr(Options(**{option.name: choice}), option.name) == choice
    with pytest.raises(
        ValueError, match=rf"^{option.name}='nonsense'.*{option.choices[0]}"
    ):
        Options(**{option.name: "nonsense"})
    with pytest.raises(ValueError, match=rf"^{option.name}=array"):
        Options(**{option.name: np.ones(2)})


@named([option for option in DECLARED if option.type is bool])
def test_switches_are_booleans(option: Option) -> None:
    with pytest.raises(TypeError, match=rf"^{option.name}="):
        Options(**{option.name: 1})


@named(DECLARED)
def test_none_means_auto_where_that_is_declared(option: Option) -> None:
    if option.optional:
        assert getattr(Options(**{option.name: None}), option.name) is None
    else:
        with pytest.raises((TypeError, ValueError), match=rf"^{option.name}="):
            Options(**{option.name: None})


@named([option for option in DECLARED if option.is_tuple])
def test_several_values_are_a_sequence(option: Option) -> None:
    low = option.setting.minimum
    assert getattr(Options(**{option.name: [low, low]}), option.name) == (low, low)
    for value in ("12", 12, np.array(3)):
        with pytest.raises(TypeError, match=rf"^{option.name}="):
            Options(**{option.name: value})
    with pytest.raises(ValueError, match=rf"^{option.name}"):
        Options(**{option.name: []})


@named([option for option in DECLARED if option.is_tuple])
def test_type_checkers_take_a_list_for_several_values(option: Option) -> None:
    declared = typing.get_type_hints(Options)[option.name]
    assert issubclass(list, typing.get_origin(declared))


def test_default_is_the_first_preset() -> None:
    assert Options() == Options.preset(PRESETS[0])


@pytest.mark.parametrize("name", PRESETS)
def test_presets_differ(name: str) -> None:
    others = [Options.preset(other) for other in PRESETS if other != name]
    assert Options.preset(name) not in others


@pytest.mark.parametrize("name", [name for name in PRESETS if name != "paper"])
def test_presets_but_the_paper_need_no_weights(name: str) -> None:
    assert Options.preset(name).consistency != "vgg16"


def test_paper_preset_is_the_paper() -> None:
    paper = Options.preset("paper")

    assert paper.scale_factor == 0.8
    assert paper.min_size == 128
    assert paper.widths == (128,) * 5
    assert paper.skip_width == 4
    assert (paper.padding, paper.upsampling) == ("reflection", "bilinear")
    assert paper.code_channels == 32
    assert paper.perturbation > 0
    assert (paper.learning_rate, paper.schedule) == (1e-3, "constant")
    assert 0 < paper.l1_fraction < 1
    assert paper.consistency == "vgg16"
    assert paper.fixed_weight is None
    assert paper.ensemble
    # What the paper does not do.
    assert paper.recorruption == 0
    assert not (paper.symmetries or paper.guidance)
    assert paper.warm_start == "never"


@pytest.mark.parametrize("name", ["slow", "", "Fast"])
def test_unknown_preset_names_the_argument_and_the_presets(name: str) -> None:
    with pytest.raises(ValueError, match=f"options.*'{name}'.*fast, balanced, paper"):
        Options.preset(name)


def test_unknown_option_is_an_error() -> None:
    with pytest.raises(TypeError, match="speed"):
        Options(speed=3)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("iteration", "iterations"), ("width", "widths"), ("learningrate", "learning_rate")],
)
def test_unknown_option_comes_with_the_nearest_one(name: str, nearest: str) -> None:
    for make in (Options, Options().replace):
        with pytest.raises(TypeError, match=rf"^{name}=3: .* did you mean {nearest}\?$"):
            make(**{name: 3})


def test_an_option_like_no_other_comes_with_all_of_them() -> None:
    with pytest.raises(TypeError, match=r"^xyz=3: .* give one of device, seed, "):
        Options(xyz=3)


def test_options_show_what_they_take() -> None:
    assert [*inspect.signature(Options).parameters] == [option.name for option in DECLARED]
    assert pickle.loads(pickle.dumps(Options(seed=3))) == Options(seed=3)


def test_options_are_frozen_and_hashable() -> None:
    options = Options()
    with pytest.raises(dataclasses.FrozenInstanceError):
        options.seed = 3
    assert hash(options) == hash(Options())


def test_replace_checks_too() -> None:
    changed = Options().replace(seed=5)

    assert (changed.seed, Options().seed) == (5, 0)
    assert changed.replace(seed=0) == Options()
    with pytest.raises(ValueError, match=r"^seed=-1"):
        Options().replace(seed=-1)


@pytest.mark.parametrize("value", [1e-300, 1e-40, 0.009])
def test_noise_to_add_is_none_or_enough_to_learn_from(value: float) -> None:
    with pytest.raises(ValueError, match=rf"^recorruption={value}: give 0, or .* 0.01"):
        Options(recorruption=value)
    assert Options(recorruption=0.01).recorruption == 0.01


def test_a_number_too_large_for_any_float_is_outside_the_limits() -> None:
    with pytest.raises(ValueError, match=r"^seed="):
        Options(seed=10**400)


@pytest.mark.parametrize("name", PRESETS)
def test_options_survive_json(name: str) -> None:
    options = Options.preset(name)
    assert Options(**json.loads(json.dumps(options.to_dict()))) == options


@pytest.mark.parametrize("options", [None, "fast", Options()])
def test_options_may_be_given_by_name_or_not_at_all(options: Any) -> None:
    assert as_options(options) == Options()
