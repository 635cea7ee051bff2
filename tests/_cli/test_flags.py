"""Every declared option is a flag, and a flag is what its option is."""

from __future__ import annotations

import pytest

from napari_msdip._cli.exits import UsageError
from napari_msdip._cli.flags import options_from
from napari_msdip._cli.parser import build_parser
from napari_msdip.options import Options, declared_options


@pytest.mark.parametrize("option", declared_options(), ids=lambda option: option.name)
def test_every_option_has_a_flag(option) -> None:
    flag = f"--{option.name.replace('_', '-')}"
    if option.type is bool:
        words, value = [f"--no-{flag[2:]}"], False
    elif option.choices:
        words, value = [flag, option.choices[-1]], option.choices[-1]
    elif option.type is str:
        words, value = [flag, "file.npz"], "file.npz"
    else:
        number = option.type(option.setting.minimum)
        words = [flag, str(number)]
        value = (number,) if option.is_tuple else number

    parsed = build_parser().parse_args(["denoise", "a", "-o", "b", *words])

    assert getattr(options_from(parsed), option.name) == value


def test_no_flags_give_the_preset() -> None:
    parsed = build_parser().parse_args(["denoise", "a", "-o", "b", "--preset", "paper"])

    assert options_from(parsed) == Options.preset("paper")


def test_auto_is_none() -> None:
    words = ["denoise", "a", "-o", "b", "--max-scales", "auto"]

    assert options_from(build_parser().parse_args(words)).max_scales is None


def test_limits_are_kept() -> None:
    words = ["denoise", "a", "-o", "b", "--learning-rate", "7"]

    with pytest.raises(UsageError, match=r"^--learning-rate=7\.0: give"):
        options_from(build_parser().parse_args(words))
