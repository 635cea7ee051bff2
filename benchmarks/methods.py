"""What is compared: each method by the name that ``--methods`` takes."""

from __future__ import annotations

import time
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from benchmarks.metrics import affine_psnr, psnr
from napari_msdip.options import PRESETS, Option, Options, declared_options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from benchmarks.data import Sample

__all__ = [
    "ABLATIONS",
    "CLASSICAL",
    "ENGINES",
    "Method",
    "Outcome",
    "expand",
    "parse_method",
]

Array = npt.NDArray[Any]

ORACLE_FACTORS = (1, 2, 4, 8)


@dataclass(frozen=True, eq=False)
class Outcome:
    """What one run of a method gave.

    Attributes
    ----------
    image : ndarray
        Estimate, in the sample's units.
    seconds : float
        Time for it, imports and the harness's own measurements excluded.
    details : mapping of str to str
        Further columns of the table, for the methods that have them.
    trace : list of dict
        Quality along the run, where it was asked for.
    """

    image: Array
    seconds: float
    details: Mapping[str, Any] = field(default_factory=dict)
    trace: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Method:
    """A way to denoise.

    Attributes
    ----------
    name : str
        As ``--methods`` takes it.
    settings : mapping
        All that decides its result, as plain JSON types; part of a row's key.
    run : callable
        ``(sample, seed, trace) -> Outcome``.
    prepare : callable
        Imports what it needs, so that the run's time leaves that out.
    stochastic : bool
        Whether seeds make a difference.
    """

    name: str
    settings: Mapping[str, Any]
    run: Callable[[Sample, int, bool], Outcome]
    prepare: Callable[[], object] = lambda: None
    stochastic: bool = False

    def suits(self, sigma_known: bool) -> bool:
        """Whether it can run where the noise level is known, or is not."""
        return sigma_known or self.settings.get("sigma") != "true"


def _noisy(sample: Sample) -> Array:
    return sample.noisy.astype(np.float64)


def _channel_axis(sample: Sample) -> int | None:
    return 2 if sample.noisy.ndim == 3 else None


def _skimage_sigma(sample: Sample) -> float:
    from skimage.restoration import estimate_sigma

    return float(
        estimate_sigma(
            _noisy(sample), channel_axis=_channel_axis(sample), average_sigmas=True
        )
    )


def _our_sigma(sample: Sample) -> float:
    from napari_msdip import estimate_sigma

    return float(estimate_sigma(sample.noisy, channel_axis=_channel_axis(sample)))


def _true_sigma(sample: Sample) -> float:
    if sample.sigma is None:
        raise ValueError("bm3d:true: the noise level of this image is not known")
    return sample.sigma


SIGMAS: dict[str, Callable[[Sample], float]] = {
    "true": _true_sigma,
    "ours": _our_sigma,
    "skimage": _skimage_sigma,
}


def bm3d(sample: Sample, sigma: float, threads: int = 1) -> Array:
    """Denoise by BM3D; colour images by its colour variant, in opponent colours.

    Parameters
    ----------
    sample : Sample
        The image.
    sigma : float
        Noise level in the image's units; BM3D gets both divided by the peak.
    threads : int
        CPU threads.
    """
    import bm3d as package

    profile = package.BM3DProfile()
    # The package starts as many threads as there are cores, whatever the
    # environment says.
    profile.num_threads = threads
    noisy = _noisy(sample)
    peak = 255.0 if sample.data_range == 255 else float(noisy.max())
    if sigma <= 1e-5 * peak:
        return noisy
    denoise = package.bm3d_rgb if noisy.ndim == 3 else package.bm3d
    return _bounded(np.asarray(denoise(noisy / peak, sigma / peak, profile)) * peak, sample)


def _bounded(estimate: Array, sample: Sample) -> Array:
    kind = sample.noisy.dtype
    if np.issubdtype(kind, np.integer):
        limits = np.iinfo(kind)
        return np.rint(estimate).clip(limits.min, limits.max)
    return estimate.clip(0, sample.data_range) if sample.bounded else estimate


def _timed(work: Callable[[], Array], **details: Any) -> Outcome:
    start = time.perf_counter()
    image = work()
    return Outcome(image, time.perf_counter() - start, details)


def _run_bm3d(sample: Sample, level: str, threads: int) -> Outcome:
    start = time.perf_counter()
    sigma = SIGMAS[level](sample)
    image = bm3d(sample, sigma, threads)
    return Outcome(image, time.perf_counter() - start, {"sigma": sigma})


def _run_bm3d_oracle(sample: Sample, threads: int) -> Outcome:
    start = time.perf_counter()
    base = _skimage_sigma(sample)
    tried = {factor: bm3d(sample, base * factor, threads) for factor in ORACLE_FACTORS}
    seconds = time.perf_counter() - start
    quality = {
        factor: psnr(image, sample.clean, sample.data_range)
        for factor, image in tried.items()
    }
    best = max(quality, key=lambda factor: quality[factor])
    note = " ".join(f"x{factor}={value:.2f}" for factor, value in quality.items())
    return Outcome(tried[best], seconds, {"sigma": base * best, "note": note})


def _run_nlm(sample: Sample, seed: int, trace: bool) -> Outcome:
    from skimage.restoration import denoise_nl_means

    def work() -> Array:
        sigma = _skimage_sigma(sample)
        estimate = denoise_nl_means(
            _noisy(sample),
            patch_size=5,
            patch_distance=6,
            h=0.6 * sigma,
            sigma=sigma,
            fast_mode=True,
            channel_axis=_channel_axis(sample),
        )
        return _bounded(estimate, sample)

    return _timed(work)


def _run_wavelet(sample: Sample, seed: int, trace: bool) -> Outcome:
    import warnings

    from skimage.restoration import calibrate_denoiser, denoise_wavelet

    def work() -> Array:
        axis = _channel_axis(sample)
        noisy = _noisy(sample)
        peak = float(noisy.max())
        sigma = _skimage_sigma(sample) / peak
        candidates = {
            "sigma": [sigma * factor for factor in (0.5, 0.7, 1, 1.4, 2, 2.8, 4, 8)],
            "wavelet": ["db1", "db2"],
            "convert2ycbcr": [axis is not None],
            "rescale_sigma": [True],
            "channel_axis": [axis],
        }
        with warnings.catch_warnings():
            # It warns of levels that a narrow crop cannot have, once per candidate.
            warnings.simplefilter("ignore", UserWarning)
            calibrated = calibrate_denoiser(
                noisy / peak,
                denoise_wavelet,
                denoise_parameters=candidates,
                extra_output=False,
            )
            return _bounded(calibrated(noisy / peak) * peak, sample)

    return _timed(work)


def _import_skimage() -> None:
    # scikit-image imports each function's module when its name is first asked for.
    from skimage.restoration import (  # noqa: F401
        calibrate_denoiser,
        denoise_nl_means,
        denoise_wavelet,
        estimate_sigma,
    )


def _import_bm3d() -> None:
    import bm3d  # noqa: F401

    _import_skimage()


def _bm3d_method(sigma: str, threads: int = 1) -> Method:
    def run(sample: Sample, seed: int, trace: bool) -> Outcome:
        if sigma == "oracle":
            return _run_bm3d_oracle(sample, threads)
        return _run_bm3d(sample, sigma, threads)

    settings = {"bm3d": "np", "sigma": sigma, "threads": threads}
    return Method(f"bm3d:{sigma}", settings, run, _import_bm3d)


def _classical() -> dict[str, Method]:
    methods = [
        Method("noisy", {}, lambda sample, seed, trace: _timed(lambda: _noisy(sample))),
        *(_bm3d_method(sigma) for sigma in (*SIGMAS, "oracle")),
        Method("nlm", {"h": 0.6, "patch": 5, "distance": 6}, _run_nlm, _import_skimage),
        Method("wavelet", {"calibrated": "j-invariant"}, _run_wavelet, _import_skimage),
    ]
    return {method.name: method for method in methods}


CLASSICAL = _classical()


def _single_scale_dip() -> Options:
    """Return Ulyanov et al.'s denoising settings, as far as our engine has them."""
    return Options.preset("paper").replace(
        ensemble=False,
        guard=False,
        max_scales=1,
        widths=(128,) * 5,
        skip_width=4,
        code_channels=32,
        code_range=0.1,
        perturbation=1 / 30,
        l1_fraction=0.0,
        consistency="none",
        iterations=3000,
        learning_rate=0.01,
        schedule="constant",
        average=0.99,
        stopping="none",
    )


ENGINES: dict[str, Callable[[], Options]] = {
    **{name: partial(Options.preset, name) for name in PRESETS},
    "dip": _single_scale_dip,
}

ABLATIONS: dict[str, Callable[[Options], dict[str, Any]]] = {
    "no-ensemble": lambda options: {"ensemble": False},
    "fixed-lambda": lambda options: {"fixed_weight": 1.0},
    "no-consistency": lambda options: {"consistency": "none"},
    "min-128": lambda options: {"min_size": 128},
    "min-64": lambda options: {"min_size": 64},
    "min-256": lambda options: {"min_size": 256},
    "half-iterations": lambda options: _scaled_iterations(options, 0.5),
    "double-iterations": lambda options: _scaled_iterations(options, 2),
    "one-scale": lambda options: {"max_scales": 1},
    "no-stop": lambda options: {"stopping": "none"},
    "no-l1": lambda options: {"l1_fraction": 0.0},
    "no-warm-start": lambda options: {"warm_start": "never"},
    "no-average": lambda options: {"average": 0.0},
}


def _scaled_iterations(options: Options, factor: float) -> dict[str, Any]:
    names = ("iterations", "coarsest_iterations", "patience")
    values = {name: getattr(options, name) for name in names}
    return {
        name: None if value is None else max(1, round(value * factor))
        for name, value in values.items()
    }


def parse_method(spec: str) -> Method:
    """Find a method by its name.

    Parameters
    ----------
    spec : str
        A classical method (``noisy``, ``bm3d:true``, ``bm3d:ours``,
        ``bm3d:skimage``, ``bm3d:oracle``, ``nlm``, ``wavelet``), or an engine
        (a preset or ``dip``) followed by any number of ``+ablation`` or
        ``+option=value``: ``fast+no-ensemble``, ``fast+widths=32,64+average=0.9``.

    Raises
    ------
    ValueError
        If no method, ablation or option is called that, or a value is wrong.
    """
    if spec in CLASSICAL:
        return CLASSICAL[spec]
    base, *changes = spec.split("+")
    if base not in ENGINES:
        known = ", ".join([*CLASSICAL, *ENGINES])
        raise ValueError(f"method={spec!r}: choose among {known}")
    options = ENGINES[base]()
    for change in changes:
        options = options.replace(**_change(spec, change, options))
    return engine_method(spec, options)


def expand(specs: Iterable[str]) -> list[str]:
    """Replace ``engine+*`` by the engine and each ablation that changes it."""
    names: list[str] = []
    for spec in specs:
        base, star, _ = spec.partition("+*")
        names += [base, *_ablated(base)] if star else [spec]
    return names


def _ablated(base: str) -> list[str]:
    plain = parse_method(base).settings
    names = [f"{base}+{ablation}" for ablation in ABLATIONS]
    return [name for name in names if parse_method(name).settings != plain]


def _change(spec: str, change: str, options: Options) -> dict[str, Any]:
    if change in ABLATIONS:
        return ABLATIONS[change](options)
    name, equals, text = change.partition("=")
    declared = {option.name: option for option in declared_options()}
    if not equals or name not in declared:
        raise ValueError(
            f"method={spec!r}: {change!r} is neither option=value nor one of "
            f"{', '.join(ABLATIONS)}"
        )
    return {name: _value(declared[name], text)}


def _value(option: Option, text: str) -> Any:
    if option.optional and text.lower() in {"none", "auto"}:
        return None
    if option.is_tuple:
        return tuple(_element(option, each) for each in text.split(","))
    return _element(option, text)


def _element(option: Option, text: str) -> Any:
    if option.type is bool:
        words = {"on": True, "true": True, "off": False, "false": False}
        if text.lower() not in words:
            raise ValueError(f"{option.name}={text!r}: give on or off")
        return words[text.lower()]
    try:
        return option.type(text)
    except ValueError:
        raise ValueError(f"{option.name}={text!r}: give a {option.type.__name__}") from None


def engine_method(name: str, options: Options) -> Method:
    """Return our engine under some options as a method."""

    def run(sample: Sample, seed: int, trace: bool) -> Outcome:
        return _run_engine(sample, options.replace(seed=seed), trace)

    settings = {"options": options.to_dict() | {"seed": None}}
    return Method(name, settings, run, _import_engine, stochastic=True)


def _import_engine() -> None:
    import napari_msdip.image  # noqa: F401


def _run_engine(sample: Sample, options: Options, trace: bool) -> Outcome:
    from napari_msdip import iter_denoise

    axis = _channel_axis(sample)
    begin = partial(iter_denoise, sample.noisy, options, channel_axis=axis)
    tracer = Tracer(sample) if trace else None
    with _every_iteration_shown() if trace else nullcontext():
        result, seconds = _timed_run(begin, tracer)
    details = _scale_details(result)
    if tracer is not None:
        details |= tracer.summary()
    image = np.asarray(result.image, np.float64)
    return Outcome(image, seconds, details, tracer.points if tracer else [])


def _timed_run(begin: Callable[[], Any], tracer: Tracer | None) -> tuple[Any, float]:
    start = time.perf_counter()
    # It measures the noise before it returns, which the time of other methods includes.
    steps = begin()
    measuring = 0.0
    while True:
        try:
            progress = next(steps)
        except StopIteration as end:
            return end.value, time.perf_counter() - start - measuring
        if tracer is not None:
            before = time.perf_counter()
            tracer.note(progress)
            measuring += time.perf_counter() - before


@contextmanager
def _every_iteration_shown() -> Iterator[None]:
    # By the clock, as usual, a slow machine would see more of the iterations than a
    # quick one, and so a higher peak.
    import napari_msdip.run as engine

    usual = engine._PREVIEW_SECONDS
    engine._PREVIEW_SECONDS = 0.0
    try:
        yield
    finally:
        engine._PREVIEW_SECONDS = usual


def _scale_details(result: Any) -> dict[str, Any]:
    scales: Sequence[Any] = result.scales
    return {
        "sigma": result.sigma,
        "iterations": " ".join(str(scale.iterations) for scale in scales),
        "stops": " ".join(scale.stop_reason.value for scale in scales),
        "scale_seconds": " ".join(f"{scale.seconds:.1f}" for scale in scales),
        "weights": " ".join(f"{scale.weight:.3g}" for scale in scales),
        "device": result.plan.device,
        "precision": result.plan.precision,
    }


@dataclass
class Tracer:
    """Compares what a run shows along the way with the clean image.

    Only for measurement: nothing here reaches the run.
    """

    sample: Sample
    points: list[dict[str, Any]] = field(default_factory=list)
    clean: dict[tuple[int, ...], Array] = field(default_factory=dict)

    def note(self, progress: Any) -> None:
        """Keep the quality of a preview or of a finished scale."""
        if progress.preview is not None:
            self._add(progress, progress.preview, finished=False)
        if progress.finished_scale is not None:
            self._add(progress, progress.finished_scale.image, finished=True)

    def _add(self, progress: Any, image: Array, *, finished: bool) -> None:
        clean = self._clean_at(image.shape)
        self.points.append(
            {
                "scale": progress.scale,
                "iteration": progress.iteration,
                "psnr": psnr(image, clean, self.sample.data_range),
                "affine_psnr": affine_psnr(image, clean, self.sample.data_range),
                "loss": progress.loss,
                "finished": finished,
            }
        )

    def _clean_at(self, shape: tuple[int, ...]) -> Array:
        if shape not in self.clean:
            self.clean[shape] = _resized(self.sample.clean, shape)
        return self.clean[shape]

    def summary(self) -> dict[str, Any]:
        """Return, finest scale first, the peak and how far the stop fell below it.

        By affine-invariant PSNR: where exposures differ in brightness, a fit comes closest
        to the clean image while it still has the wrong brightness.
        """
        peaks, losses = [], []
        for scale in sorted({point["scale"] for point in self.points}):
            points = [point for point in self.points if point["scale"] == scale]
            peak = max(point["affine_psnr"] for point in points)
            stopped = [point["affine_psnr"] for point in points if point["finished"]]
            peaks.append(f"{peak:.2f}")
            losses.append(f"{peak - stopped[-1]:.2f}" if stopped else "nan")
        return {"peaks": " ".join(peaks), "stop_losses": " ".join(losses)}


def _resized(clean: Array, shape: tuple[int, ...]) -> Array:
    import torch

    from napari_msdip.pyramid import resize

    if clean.shape == shape:
        return clean
    planes = torch.from_numpy(np.atleast_3d(clean).transpose(2, 0, 1)[None].copy())
    small = resize(planes, (shape[0], shape[1]))[0].numpy().transpose(1, 2, 0)
    return small.reshape(shape)


def with_threads(method: Method, threads: int) -> Method:
    """Pin our engine and BM3D to a number of threads; other methods have but one."""
    if "bm3d" in method.settings:
        return _bm3d_method(method.settings["sigma"], threads)
    options = method.settings.get("options")
    if options is None:
        return method
    pinned = Options(**{**options, "seed": 0, "threads": threads})
    return engine_method(method.name, pinned)
