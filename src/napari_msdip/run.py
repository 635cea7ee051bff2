"""One image being denoised: drive the scales, fuse them, refine, restore."""

from __future__ import annotations

import copy
import dataclasses
import math
import time
from collections.abc import Callable, Generator
from dataclasses import InitVar, dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_msdip._run.fusing import Fitted, averaged, fused
from napari_msdip._run.noise import RunNoise
from napari_msdip.devices import memory_format, uninfluenced, versions
from napari_msdip.events import (
    Progress,
    Result,
    ScaleResult,
    Status,
    StopReason,
    time_left,
)
from napari_msdip.features import DerivativeBank, Vgg16Features
from napari_msdip.fit import Fit, Problem, Step, fit_scale
from napari_msdip.generator import Generator as Network
from napari_msdip.generator import GeneratorConfig
from napari_msdip.losses import ScaleConsistency, adaptive_weight
from napari_msdip.measured import level_of_channels
from napari_msdip.noise import estimate_sigma
from napari_msdip.pyramid import resize
from napari_msdip.refinement import refined
from napari_msdip.steps import changed, never
from napari_msdip.trust import with_local_means
from napari_msdip.vgg_weights import load_vgg16

if TYPE_CHECKING:
    from napari_msdip._run.units import Units
    from napari_msdip.measured import Measured
    from napari_msdip.plan import Plan
    from napari_msdip.warm_start import WarmStart

__all__ = ["Run", "features_of"]

Array = npt.NDArray[Any]
Planar = npt.NDArray[np.float32]
ShouldStop = Callable[[], bool]
M = TypeVar("M", bound=torch.nn.Module)

_PREVIEW_SECONDS = 0.3
# A preview that takes longer than this has the next one wait longer in proportion, lest
# those of large images slow the run.
_CHEAP_PREVIEW = 0.015
# What of a fit comes before the noise is measured again, at the finest scale and at those
# between it and the coarsest. More would fit noise, of which then less is to be seen in
# what was removed.
_FIRST_PART = 1 / 2
_MOST_OF_FIRST_PART = 150
_FIRST_PART_BETWEEN = 1 / 5
# A cancelled scale that has done less than this would blur more than it denoises.
_USABLE_SHARE = 0.25


@dataclass(eq=False)
class Run:
    """One image being denoised.

    Attributes
    ----------
    units : Units
        The image, and the way to and from normalised values.
    plan : Plan
        Concrete settings.
    measured : Measured
        Range and noise to begin with.
    features : callable or None
        phi of eq. 3; None compares pixels.
    should_stop : callable or None
        Asked before every step.
    warm_start : WarmStart or None
        Generators to start from, replaced by those of this image.
    """

    units: Units
    plan: Plan
    measured: InitVar[Measured]
    features: Callable[[Tensor], Tensor] | None
    should_stop: ShouldStop | None = None
    warm_start: WarmStart | None = None
    _prepared_in: float = field(default=0.0, init=False)
    _started: float = field(default=0.0, init=False)
    _next_preview: float = field(default=0.0, init=False)
    _loss: float = field(default=0.0, init=False)
    _noise: RunNoise = field(init=False)

    def __post_init__(self, measured: Measured) -> None:
        self._noise = RunNoise(measured, self.units, self.plan)

    def steps(self, *, prepared_in: float = 0.0) -> Generator[Progress, None, Result]:
        """Fit scale after scale, then fuse.

        ``prepared_in`` are the seconds that went into measuring before.
        """
        self._prepared_in = prepared_in
        device, threads = self.plan.device, self.plan.threads
        return changed(self._steps(), _same, within=lambda: uninfluenced(device, threads))

    def _steps(self) -> Generator[Progress, None, Result]:
        self._started = time.perf_counter()
        self._next_preview = self._started + _PREVIEW_SECONDS
        if self.units.is_constant:
            result = self._constant()
            yield self._progress(0, 0, 1.0, scale=result.scales[0], filtered=1.0)
            return result
        rng = torch.Generator().manual_seed(self.plan.seed)
        noisy = self.units.normalised(self.plan.device)
        network: Network | None = None
        finished: list[Fitted] = []
        for n in reversed(range(len(self.plan.scales))):
            problem = self._problem(n, noisy, finished)
            if network is None or not self._starts_warm:
                network = self._network(problem, rng)
            if self.warm_start is not None:
                self.warm_start.recall(n, network)
            if self._measures_again and (finished or n == 0):
                scale = yield from self._fit_twice(
                    n, problem, network, rng, finished, noisy
                )
            else:
                scale = yield from self._fit(n, problem, network, rng)
            if self.warm_start is not None:
                self.warm_start.keep(n, network)
            finished.insert(0, scale)
            if self._usable(scale.result):
                yield self._progress(n, scale.result.iterations, 1.0, scale=scale.result)
            if scale.result.stop_reason is StopReason.CANCELLED:
                return self._cancelled(finished)
        image, status = yield from self._refined(
            self._fused(finished, noisy).to(noisy.device), noisy
        )
        image = self._insured(image, noisy)
        return self._reported(
            self.units.restored(image), tuple(s.result for s in finished), status
        )

    @property
    def _starts_warm(self) -> bool:
        """Whether a scale goes on from the coarser one's weights.

        In correlated noise, which is another at every scale, texture comes out better
        without, and small bright spots worse.
        """
        wanted = self.plan.options.warm_start
        return wanted == "always" or (wanted == "auto" and self._noise.model.is_white)

    @property
    def _measures_again(self) -> bool:
        """Whether the noise is measured a second time, by what a first part removed."""
        options = self.plan.options
        # Pixels held out of the second part would be ones that the first was fitted to.
        possible = bool(options.recorruption) and options.stopping != "held-out"
        return options.remeasure and possible and not self._noise.model.is_certain

    def _fit_twice(
        self,
        n: int,
        problem: Problem,
        network: Network,
        rng: torch.Generator,
        coarser: list[Fitted],
        noisy: Tensor,
    ) -> Generator[Progress, None, Fitted]:
        """Fit a scale in two parts, the noise measured again in between.

        What is found at the finest scale counts for the image from there on, what is
        found at another for the rest of its fit.
        """
        early = _first_part(n, problem.iterations)
        left = problem.iterations - early
        first = yield from self._fit(
            n, dataclasses.replace(problem, iterations=early), network, rng, left=left
        )
        if first.result.stop_reason is StopReason.CANCELLED or not left:
            return first
        if n == 0:
            so_far = self._fused([first, *coarser], noisy)
            self._noise = self._noise.again(so_far, first.image)
            noise = self._noise.bank(self.plan.shape)
        else:
            found = self._noise.bank_of_scale(problem.target, first.image)
            noise = problem.noise if found is None else found
        # Begun anew, a scale in between would soon learn noise that was measured too low.
        before = early if n else 0
        rest = dataclasses.replace(problem, noise=noise, iterations=left, before=before)
        second = yield from self._fit(n, rest, network, rng, done=early)
        return self._joined(first, second)

    def _joined(self, first: Fitted, second: Fitted) -> Fitted:
        """Make one scale of the two parts of its fit."""
        kept, before = first, 0
        if self._usable(second.result):
            kept, before = second, first.result.iterations
        result = dataclasses.replace(
            kept.result,
            iterations=before + kept.result.iterations,
            stop_reason=second.result.stop_reason,
            seconds=first.result.seconds + second.result.seconds,
        )
        return Fitted(kept.image, result, second.network)

    def _fit(
        self,
        n: int,
        problem: Problem,
        network: Network,
        rng: torch.Generator,
        *,
        done: int = 0,
        left: int = 0,
    ) -> Generator[Progress, None, Fitted]:
        started = time.perf_counter()
        steps = fit_scale(
            problem,
            network,
            self.plan.options,
            rng,
            precision=self.plan.precision,
            should_stop=self.should_stop or never,
        )

        def progress(step: Step) -> Progress:
            reached = done + step.share * problem.iterations
            share = reached / (done + problem.iterations + left)
            return self._progress(n, done + step.iteration, share, step=step)

        fit = yield from changed(steps, progress)
        kept = copy.deepcopy(network) if self._weighs_risk else None
        return Fitted(fit.image, self._scale_result(n, problem, fit, started), kept)

    @property
    def _weighs_risk(self) -> bool:
        """Whether to weight by risk, which needs generators of the noisy image alone."""
        options = self.plan.options
        return options.scale_weights == "risk" and options.shows_image_alone

    def _scale_result(
        self, n: int, problem: Problem, fit: Fit, started: float
    ) -> ScaleResult:
        scale = self.plan.scales[n]
        return ScaleResult(
            image=self.units.restored(fit.image),
            shape=scale.shape,
            zoom=scale.zoom,
            sigma=problem.sigma,
            weight=problem.weight,
            iterations=fit.iterations,
            stop_reason=fit.reason,
            seconds=time.perf_counter() - started,
            scale=n,
        )

    def _problem(self, n: int, noisy: Tensor, finished: list[Fitted]) -> Problem:
        scale, options = self.plan.scales[n], self.plan.options
        target = resize(noisy, scale.shape)
        planes = self.units.inverted(target)
        sigma = estimate_sigma(planes, channel_axis=0)
        coarser = finished[0].image if finished else None
        return Problem(
            target=target,
            sigma=level_of_channels(planes, self.units.layout, sigma),
            guide=self._guide(target, coarser) if options.guidance else None,
            noise=self._noise.bank(scale.shape),
            consistency=self._consistency(coarser),
            weight=0.0 if coarser is None else self._weight(n, sigma),
            iterations=scale.iterations,
            reach=math.ceil(self._noise.model.reach() / max(scale.zoom)),
            crops=scale.crops,
        )

    def _fused(self, finished: list[Fitted], noisy: Tensor) -> Tensor:
        shape = self.plan.shape
        bank = self._noise.bank(shape) if self._weighs_risk else None
        sigma = self._noise.sigma(shape)
        return fused(finished, noisy, sigma, bank, self._noise.model, self.plan)

    def _guide(self, target: Tensor, coarser: Tensor | None) -> Tensor:
        """Coarser result at this size; at the coarsest scale the blurred image itself."""
        size = (target.shape[-2], target.shape[-1])
        if coarser is None:
            coarser = resize(target, (max(size[0] // 4, 4), max(size[1] // 4, 4)))
        return resize(coarser, size)

    def _consistency(self, coarser: Tensor | None) -> ScaleConsistency | None:
        if coarser is None or self.plan.options.consistency == "none":
            return None
        relative = self.plan.options.consistency == "vgg16"
        return ScaleConsistency(coarser, self.features, relative=relative)

    def _weight(self, n: int, sigma: float) -> float:
        options = self.plan.options
        if options.consistency == "none":
            return 0.0
        if options.fixed_weight is not None:
            return options.fixed_weight
        normalised = sigma / self._noise.measured.normalisation.gain
        adaptive = adaptive_weight(normalised, n, len(self.plan.scales))
        return options.consistency_gain * adaptive

    def _network(self, problem: Problem, rng: torch.Generator) -> Network:
        options = self.plan.options
        channels = self.plan.channels
        inputs = options.code_channels
        inputs += channels * ((problem.guide is not None) + (problem.noise is not None))
        config = GeneratorConfig(
            in_channels=inputs,
            out_channels=channels,
            widths=self.plan.widths,
            skip_width=options.skip_width,
            padding=options.padding,
            upsampling=options.upsampling,
            fold=options.fold,
            bounds=self._noise.measured.bounds if options.bounded else None,
        )
        network = Network(config)
        network.initialise(rng)
        network.start_at(problem.target.mean(dim=(0, 2, 3)).cpu())
        return _placed(network, self.plan.device)

    def _refined(
        self, pilot: Tensor, noisy: Tensor
    ) -> Generator[Progress, None, tuple[Tensor, Status]]:
        """Filter similar patches of the noisy image as the pilot tells."""
        if not self.plan.options.refine:
            return pilot, Status.COMPLETED
        sigma = self._noise.sigma(self.plan.shape)
        steps = refined(noisy, pilot, sigma, self._noise.model)
        while True:
            if self.should_stop is not None and self.should_stop():
                return pilot, Status.CANCELLED
            try:
                done = next(steps)
            except StopIteration as finished:
                image = self._with_local_means(finished.value, noisy, sigma)
                return image, Status.COMPLETED
            yield self._progress(0, self.plan.scales[0].iterations, 1.0, filtered=done)

    def _insured(self, image: Tensor, noisy: Tensor) -> Tensor:
        """Keep a share of the noisy image where its noise may be the picture's."""
        share = self._noise.model.noisy_share if self.plan.options.guard else 0.0
        return torch.lerp(image, noisy, share) if share else image

    def _with_local_means(self, image: Tensor, noisy: Tensor, sigma: Tensor) -> Tensor:
        return with_local_means(
            image,
            noisy,
            sigma,
            is_white=self._noise.model.is_white,
            asymmetry=self._noise.asymmetry,
        )

    def _cancelled(self, finished: list[Fitted]) -> Result:
        """Return the best there is: the scales that got far enough, or the noisy image."""
        kept = [scale for scale in finished if self._usable(scale.result)]
        if kept:
            scales = kept if self.plan.options.ensemble else kept[:1]
            image = self.units.restored(resize(averaged(scales), self.plan.shape))
        else:
            image = self.units.as_it_was()
        return self._reported(
            image, tuple(scale.result for scale in kept), Status.CANCELLED
        )

    def _usable(self, result: ScaleResult) -> bool:
        """Whether the fit of a scale got far enough to show its image."""
        if result.stop_reason is not StopReason.CANCELLED:
            return True
        planned = self.plan.scales[result.scale].iterations
        return result.iterations >= _USABLE_SHARE * planned

    def _constant(self) -> Result:
        """Return an image without any variation as it is."""
        image = self.units.as_it_was()
        scale = ScaleResult(
            image=image.copy(),
            shape=self.plan.shape,
            zoom=(1.0, 1.0),
            sigma=0.0,
            weight=0.0,
            iterations=0,
            stop_reason=StopReason.CONSTANT,
            seconds=0.0,
        )
        result = self._reported(image, (scale,), Status.COMPLETED)
        return dataclasses.replace(result, sigma=0.0)

    def _reported(
        self, image: Array, scales: tuple[ScaleResult, ...], status: Status
    ) -> Result:
        return Result(
            image=image,
            scales=scales,
            sigma=self._noise.measured.level(self.units.planar, self.units.layout),
            plan=self.plan,
            status=status,
            seconds=self._prepared_in + time.perf_counter() - self._started,
            versions=versions(),
        )

    def _progress(
        self,
        n: int,
        iteration: int,
        share: float,
        *,
        step: Step | None = None,
        scale: ScaleResult | None = None,
        filtered: float = 0.0,
    ) -> Progress:
        works, refining = self.plan.works, self.plan.refining
        done = sum(works[n + 1 :]) + share * works[n] + filtered * refining
        # Added up in another order, all of it may round to a little more than the whole.
        done = min(done / (sum(works) + refining), 1.0)
        now = time.perf_counter()
        preview = None
        if step is not None:
            self._loss = step.loss
        if step is not None and now >= self._next_preview:
            preview = self.units.restored(step.average)
            shown = time.perf_counter()
            stretched = max(1.0, (shown - now) / _CHEAP_PREVIEW)
            self._next_preview = shown + stretched * _PREVIEW_SECONDS
        return Progress(
            scale=n,
            n_scales=len(self.plan.scales),
            iteration=iteration,
            total=self.plan.scales[n].iterations,
            fraction=done,
            eta_seconds=time_left(now - self._started, done),
            loss=self._loss,
            preview=preview,
            finished_scale=scale,
        )


def _first_part(n: int, iterations: int) -> int:
    """Return the iterations before the noise of a scale is measured again."""
    if n == 0:
        return min(_MOST_OF_FIRST_PART, math.ceil(_FIRST_PART * iterations))
    return math.ceil(_FIRST_PART_BETWEEN * iterations)


def features_of(plan: Plan) -> Callable[[Tensor], Tensor] | None:
    """Return phi of eq. 3, or None to compare pixels.

    Raises
    ------
    WeightsNotFoundError
        If VGG-16 is wanted and its weights are neither here nor to be had.
    """
    options = plan.options
    if len(plan.scales) == 1:
        return None
    if options.consistency == "vgg16":
        weights = load_vgg16(options.vgg_weights)
        return _placed(Vgg16Features(weights, options.feature_layer), plan.device)
    if options.consistency == "offline":
        return DerivativeBank()
    return None


def _placed(module: M, device: str) -> M:
    """Move a network to a device, in the order in memory that suits it."""
    target = torch.device(device)
    return module.to(target).to(memory_format=memory_format(target))


def _same(progress: Progress) -> Progress:
    return progress
