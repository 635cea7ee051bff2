"""The options of a run, each declared once.

The API reads them as a dataclass, the command line turns them into flags and
the dock widget into form fields: label, help, limits and choices live in the
:class:`Setting` beside each field and nowhere else.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import os
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, wraps
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from napari_msdip.arguments import real_number

__all__ = [
    "LEAST_RATE",
    "PRESETS",
    "Option",
    "Options",
    "Setting",
    "as_options",
    "declared_options",
]

Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "float32", "bfloat16"]

PRESETS: tuple[str, ...] = ("fast", "balanced", "paper")
LEAST_RATE = 1e-6
"""Smallest learning rate."""
# With less noise added, what is asked for is nearly nothing but noise.
_LEAST_RECORRUPTION = 0.01


@dataclass(frozen=True)
class Setting:
    """What a person needs to know to set one option.

    Attributes
    ----------
    label : str
        Caption of a form field.
    help : str
        One sentence for tooltips, ``--help`` and the documentation.
    group : str
        Heading under which forms and ``--help`` list the option.
    minimum, maximum : float or None
        Inclusive limits of a number, or of each number in a tuple.
    advanced : bool
        Whether forms fold the option away.
    """

    label: str
    help: str
    group: str
    minimum: float | None = None
    maximum: float | None = None
    advanced: bool = True


@dataclass(frozen=True)
class Option:
    """One declared option: its name, type, default and :class:`Setting`.

    Attributes
    ----------
    name : str
        Field name in :class:`Options`; the flag is the name with hyphens.
    type : type
        ``bool``, ``int``, ``float`` or ``str``; the type of one element where
        ``is_tuple`` is true.
    choices : tuple of str
        The allowed words, empty where any value within the limits will do.
    optional : bool
        Whether ``None`` ("auto") is allowed.
    is_tuple : bool
        Whether the option holds several values.
    default : object
        Value in the default preset.
    setting : Setting
        Label, help, limits.
    """

    name: str
    type: type
    choices: tuple[str, ...]
    optional: bool
    is_tuple: bool
    default: Any
    setting: Setting


def _suggesting(options: type[Options]) -> type[Options]:
    """Have a dataclass name the nearest field if it is given one that it lacks."""
    begin: Any = options.__init__

    @wraps(begin)
    def suggesting(self: Options, *values: Any, **named: Any) -> None:
        names = [field.name for field in dataclasses.fields(options)]
        for name in named:
            if name not in names:
                raise TypeError(_unknown(name, named[name], names))
        begin(self, *values, **named)

    options.__init__ = suggesting  # type: ignore[method-assign]
    return options


def _unknown(name: str, value: Any, names: Sequence[str]) -> str:
    """Say that there is no such option, and which one may be meant."""
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]}?" if near else f"give one of {', '.join(names)}"
    return f"{name}={value!r}: there is no such option; {hint}"


@_suggesting
@dataclass(frozen=True)
class Options:
    """How to denoise: a frozen set of wishes, ``None`` meaning "decide for me".

    The defaults are the ``fast`` preset; see ``preset`` for the others.
    ``resolve`` turns wishes into a concrete ``Plan``.

    Raises
    ------
    TypeError
        If a value has the wrong type.
    ValueError
        If a value lies outside its limits or is not one of its choices.
    """

    device: Annotated[
        Device,
        Setting(
            "Device",
            "Where to compute; auto takes CUDA, then MPS, then the CPU.",
            "General",
            advanced=False,
        ),
    ] = "auto"
    seed: Annotated[
        int,
        Setting(
            "Seed",
            "Same seed, CPU, threads, precision and versions: same result.",
            "General",
            0,
            2**31 - 1,
        ),
    ] = 0
    output_dtype: Annotated[
        Literal["input", "float32"],
        Setting(
            "Output type",
            "input keeps the image's dtype, rounded and clipped for integers.",
            "General",
        ),
    ] = "input"
    remove_hot_pixels: Annotated[
        bool,
        Setting(
            "Remove hot pixels",
            "Replace single pixels that differ from all around them by far more than "
            "noise can, as a camera's defects do; off: they stay.",
            "General",
        ),
    ] = False
    ensemble: Annotated[
        bool,
        Setting(
            "Fuse scales",
            "Fuse the results of all scales (eq. 5), as Scale weights says; off: the "
            "finest scale's alone.",
            "General",
            advanced=False,
        ),
    ] = True
    scale_weights: Annotated[
        Literal["risk", "equal"],
        Setting(
            "Scale weights",
            "equal: average neighbouring scales plainly, as in the paper; risk: the "
            "more of a scale, the smaller its estimated error at that place, if the "
            "generator sees the noisy image alone.",
            "General",
        ),
    ] = "risk"
    guard: Annotated[
        bool,
        Setting(
            "Keep structure",
            "Keep the noisy pixels where more was removed than noise can explain, and a "
            "share of all where faint noise may be texture; off: results as they are.",
            "General",
        ),
    ] = True
    refine: Annotated[
        bool,
        Setting(
            "Refine by similar patches",
            "Filter similar patches of the noisy image together, as the fused scales "
            "tell; off: the fused scales as they are.",
            "General",
        ),
    ] = True
    scale_factor: Annotated[
        float,
        Setting(
            "Scale factor",
            "Size of each pyramid level relative to the next finer one (r).",
            "Pyramid",
            0.3,
            0.9,
        ),
    ] = 0.5
    min_size: Annotated[
        int,
        Setting(
            "Smallest scale (px)",
            "The pyramid stops before the short side falls below this.",
            "Pyramid",
            16,
            4096,
        ),
    ] = 64
    max_scales: Annotated[
        int | None,
        Setting("Most scales", "At most this many pyramid levels.", "Pyramid", 1, 32),
    ] = None
    # A tuple once it is checked; what may be given decides what type checkers accept.
    widths: Annotated[
        Sequence[int],
        Setting(
            "Widths",
            "Channels of the generator at each depth, finest first.",
            "Generator",
            4,
            512,
        ),
    ] = (16, 32, 64, 64, 64)
    skip_width: Annotated[
        int,
        Setting("Skip channels", "Channels of each skip connection.", "Generator", 0, 256),
    ] = 16
    padding: Annotated[
        Literal["reflection", "zeros"],
        Setting("Padding", "How convolutions see beyond the border.", "Generator"),
    ] = "zeros"
    upsampling: Annotated[
        Literal["bilinear", "nearest"],
        Setting("Upsampling", "How the decoder doubles its size.", "Generator"),
    ] = "nearest"
    bounded: Annotated[
        bool,
        Setting(
            "Bounded output",
            "End the generator with a sigmoid, which keeps it within the image's range.",
            "Generator",
        ),
    ] = True
    fold: Annotated[
        int,
        Setting(
            "Fold",
            "Blocks of this many pixels square enter and leave the generator as "
            "channels; 2 makes it about four times cheaper and a little coarser.",
            "Generator",
            1,
            4,
        ),
    ] = 1
    code_channels: Annotated[
        int,
        Setting(
            "Code channels", "Channels of the random code z; 0: none.", "Input", 0, 256
        ),
    ] = 0
    code_range: Annotated[
        float,
        Setting("Code range", "z is uniform between 0 and this value.", "Input", 0, 10),
    ] = 1.0
    perturbation: Annotated[
        float,
        Setting(
            "Code perturbation",
            "Standard deviation of the fresh Gaussian noise added to z every step.",
            "Input",
            0,
            1,
        ),
    ] = 1 / 30
    recorruption: Annotated[
        float,
        Setting(
            "Recorruption",
            "Show the generator the noisy image plus this many times fresh noise like "
            "its own, and ask for the noisy image minus it; 0: show the code alone.",
            "Input",
            0,
            10,
        ),
    ] = 1.0
    remeasure: Annotated[
        bool,
        Setting(
            "Measure noise twice",
            "Some way into each scale, the coarsest of several left out, measure "
            "correlated noise again on what was removed so far. Not with held-out pixels.",
            "Input",
        ),
    ] = True
    symmetries: Annotated[
        bool,
        Setting(
            "Turn and flip", "Turn or flip what is fitted at random every step.", "Input"
        ),
    ] = True
    guidance: Annotated[
        bool,
        Setting(
            "Show coarser result",
            "Give the upsampled coarser result to the generator as input.",
            "Input",
        ),
    ] = False
    warm_start: Annotated[
        Literal["auto", "always", "never"],
        Setting(
            "Warm start",
            "Start each scale from the coarser scale's weights; auto: only where the noise "
            "is independent from pixel to pixel, which suits photographs, but not spots.",
            "Input",
        ),
    ] = "always"
    l1_fraction: Annotated[
        float,
        Setting(
            "L1 share",
            "Share of the iterations fitted with L1 before the switch to L2.",
            "Loss",
            0,
            1,
        ),
    ] = 0.3
    consistency: Annotated[
        Literal["vgg16", "offline", "pixels", "none"],
        Setting(
            "Scale consistency",
            "What must agree with the coarser scale (eq. 3): VGG-16 features, "
            "features that need no download, pixels, or nothing.",
            "Loss",
        ),
    ] = "offline"
    feature_layer: Annotated[
        Literal["relu1_2", "relu2_2", "relu3_3"],
        Setting("Feature layer", "Which VGG-16 layer to compare (phi_i).", "Loss"),
    ] = "relu2_2"
    vgg_weights: Annotated[
        str | None,
        Setting("VGG-16 weights", "File with VGG-16 weights (.npz, .pth).", "Loss"),
    ] = None
    consistency_gain: Annotated[
        float,
        Setting("Consistency gain", "Multiplies the adaptive lambda.", "Loss", 0, 1e6),
    ] = 10.0
    fixed_weight: Annotated[
        float | None,
        Setting(
            "Fixed lambda",
            "Replaces the adaptive weight of eq. 4 at every scale.",
            "Loss",
            0,
            1e6,
        ),
    ] = None
    iterations: Annotated[
        int,
        Setting(
            "Most iterations",
            "Cap for each scale but the coarsest.",
            "Optimisation",
            1,
            100_000,
        ),
    ] = 100
    coarsest_iterations: Annotated[
        int | None,
        Setting(
            "Most iterations, coarsest",
            "Cap for the coarsest scale; auto: as the others.",
            "Optimisation",
            1,
            100_000,
        ),
    ] = 150
    learning_rate: Annotated[
        float,
        Setting("Learning rate", "Step size of Adam.", "Optimisation", LEAST_RATE, 1),
    ] = 3e-3
    schedule: Annotated[
        Literal["constant", "cosine"],
        Setting("Schedule", "Course of the learning rate.", "Optimisation"),
    ] = "cosine"
    average: Annotated[
        float,
        Setting(
            "Output averaging",
            "Decay of the running average of the outputs; 0: last output only.",
            "Optimisation",
            0,
            0.999,
        ),
    ] = 0.95
    stopping: Annotated[
        Literal["settled", "plateau", "held-out", "none"],
        Setting(
            "Stop when",
            "settled: the output no longer moves, if steps see the whole scale; plateau: "
            "the loss no longer falls; held-out: pixels left out of the fit are no longer "
            "predicted better; none: at the cap.",
            "Optimisation",
        ),
    ] = "settled"
    patience: Annotated[
        int,
        Setting(
            "Patience",
            "Iterations without improvement before a scale stops (settled: twice as many).",
            "Optimisation",
            1,
            10_000,
        ),
    ] = 60
    step_pixels: Annotated[
        int | None,
        Setting(
            "Pixels in a step",
            "Of a scale with more than twice as many, a step sees crops, so many pixels in "
            "all, if the generator sees the noisy image alone, and neither VGG-16 nor the "
            "rule when to stop needs the whole; auto: always the whole.",
            "Optimisation",
            4096,
            2**30,
        ),
    ] = 24 * 64**2
    plane_chunk: Annotated[
        int,
        Setting(
            "Planes in a chunk",
            "In a stack each plane but the first of a chunk of so many starts from the "
            "generators of the plane before, and takes half the iterations; 1: every "
            "plane on its own.",
            "Optimisation",
            1,
            100_000,
        ),
    ] = 1
    precision: Annotated[
        Precision,
        Setting(
            "Precision",
            "auto: bfloat16 where a short timing shows that much faster on a CPU, else "
            "float32.",
            "Compute",
        ),
    ] = "auto"
    threads: Annotated[
        int | None,
        Setting(
            "Threads",
            "CPU threads; auto: all cores, or OMP_NUM_THREADS of them.",
            "Compute",
            1,
            1024,
        ),
    ] = None

    def __post_init__(self) -> None:
        """Check every value against its declaration."""
        for option in declared_options():
            value = _checked(option, getattr(self, option.name))
            object.__setattr__(self, option.name, value)
        if 0 < self.recorruption < _LEAST_RECORRUPTION:
            raise ValueError(
                f"recorruption={self.recorruption!r}: give 0, or a number from "
                f"{_LEAST_RECORRUPTION} on"
            )

    @classmethod
    def preset(cls, name: str) -> Options:
        """Return the options of a preset.

        Parameters
        ----------
        name : {"fast", "balanced", "paper"}
            ``fast`` and ``balanced`` need no downloaded weights; ``paper`` is
            the published method, to the letter with ``guard=False``.

        Raises
        ------
        ValueError
            If there is no such preset.
        """
        changes = _preset_changes()
        if name not in changes:
            raise ValueError(
                f"options: there is no preset {name!r}; choose one of {', '.join(PRESETS)}"
            )
        return cls(**changes[name])

    def replace(self, **changes: Any) -> Options:
        """Return a copy with some options changed."""
        return dataclasses.replace(self, **changes)

    @property
    def shows_image_alone(self) -> bool:
        """Whether all that generators see is the noisy image with noise added."""
        return bool(self.recorruption) and not self.code_channels and not self.guidance

    def to_dict(self) -> dict[str, Any]:
        """Return the options as plain JSON types."""
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in dataclasses.asdict(self).items()
        }


def _preset_changes() -> dict[str, dict[str, Any]]:
    return {
        "fast": {},
        "balanced": {"iterations": 200, "coarsest_iterations": 300, "patience": 100},
        "paper": {
            "scale_weights": "equal",
            "refine": False,
            "scale_factor": 0.8,
            "min_size": 128,
            "widths": (128,) * 5,
            "skip_width": 4,
            "padding": "reflection",
            "upsampling": "bilinear",
            "code_channels": 32,
            "code_range": 0.1,
            "recorruption": 0.0,
            "remeasure": False,
            "symmetries": False,
            "warm_start": "never",
            "consistency": "vgg16",
            "consistency_gain": 0.3,
            "iterations": 2000,
            "coarsest_iterations": None,
            "learning_rate": 1e-3,
            "schedule": "constant",
            "average": 0.99,
            "stopping": "plateau",
            "patience": 200,
            "step_pixels": None,
            "precision": "float32",
        },
    }


@cache
def declared_options() -> tuple[Option, ...]:
    """Return every option of :class:`Options` in declaration order."""
    hints = typing.get_type_hints(Options, include_extras=True)
    return tuple(
        _declared(field.name, hints[field.name], field.default)
        for field in dataclasses.fields(Options)
    )


def _declared(name: str, hint: Any, default: Any) -> Option:
    annotation, setting = get_args(hint)
    members = get_args(annotation)
    optional = get_origin(annotation) in (Union, types.UnionType)
    if optional:
        (annotation,) = (member for member in members if member is not type(None))
    is_tuple = get_origin(annotation) is Sequence
    if is_tuple:
        annotation = get_args(annotation)[0]
    choices = get_args(annotation) if get_origin(annotation) is Literal else ()
    return Option(
        name=name,
        type=str if choices else annotation,
        choices=choices,
        optional=optional,
        is_tuple=is_tuple,
        default=default,
        setting=setting,
    )


def _checked(option: Option, value: Any) -> Any:
    if value is None and option.optional:
        return None
    if not option.is_tuple:
        return _checked_element(option, value)
    if isinstance(value, str) or not _is_sequence(value):
        raise TypeError(f"{option.name}={value!r}: give a sequence of numbers")
    elements = tuple(_checked_element(option, element) for element in value)
    if not elements:
        raise ValueError(f"{option.name}: give at least one number")
    return elements


def _checked_element(option: Option, value: Any) -> Any:
    if option.choices:
        if not isinstance(value, str) or value not in option.choices:
            raise ValueError(
                f"{option.name}={value!r}: choose one of {', '.join(option.choices)}"
            )
        return value
    if option.type is float or option.type is int:
        return _checked_number(option, value)
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if not isinstance(value, option.type):
        raise TypeError(f"{option.name}={value!r}: give a {option.type.__name__}")
    return value


def _is_sequence(value: Any) -> bool:
    """Whether something can be gone through; an array of no dimension cannot."""
    return hasattr(value, "__iter__") and getattr(value, "ndim", 1) > 0


def _checked_number(option: Option, value: Any) -> float | int:
    number = real_number(value)
    if number is None:
        raise TypeError(f"{option.name}={value!r}: give a number")
    low, high = option.setting.minimum, option.setting.maximum
    if (
        not math.isfinite(number)
        or (low is not None and number < low)
        or (high is not None and number > high)
    ):
        raise ValueError(f"{option.name}={value!r}: give a number from {low} to {high}")
    if option.type is float:
        return number
    if number != int(number):
        raise ValueError(f"{option.name}={value!r}: give a whole number")
    return int(number)


def as_options(options: Options | str | None) -> Options:
    """Return options from options, a preset's name, or None.

    Raises
    ------
    TypeError
        If it is none of these.
    ValueError
        If there is no such preset.
    """
    if options is None:
        return Options()
    if isinstance(options, str):
        return Options.preset(options)
    if not isinstance(options, Options):
        raise TypeError(
            f"options={options!r}: give an Options, the name of a preset, or None"
        )
    return options
