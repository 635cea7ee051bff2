"""Fit one generator to one scale of the pyramid."""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from napari_msdip._fit.crops import (
    CROP_SIDE,
    FINAL_PASSES,
    PASS_WORK,
    STEPS_PER_PASS,
    Crops,
)
from napari_msdip._fit.descent import descent_on
from napari_msdip._fit.symmetry import SYMMETRIES, turned, turned_back
from napari_msdip.devices import casting, memory_format
from napari_msdip.events import StopReason
from napari_msdip.losses import ScaleConsistency, reconstruction_loss
from napari_msdip.steps import never
from napari_msdip.stopping import HeldOut, Plateau, Settled

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from napari_msdip._fit.noise_bank import NoiseBank
    from napari_msdip.generator import Generator as Network
    from napari_msdip.options import Options

__all__ = ["Fit", "Problem", "Step", "fit_scale"]

# The first outputs are far off; forgetting them sooner makes the average usable sooner.
_WARM_UP = 10
_LOWEST_RATE = 0.02


@dataclass(frozen=True, eq=False)
class Problem:
    """What a generator has to reproduce at one scale, and from what.

    Attributes
    ----------
    target : Tensor
        ``(1, C, H, W)`` noisy image y_n, normalised.
    sigma : float
        Noise level of y_n, in the image's units.
    guide : Tensor or None
        ``(1, C, H, W)`` coarser result at this size, if the generator sees it.
    noise : NoiseBank or None
        Noise to add, if the generator sees the noisy image.
    consistency : ScaleConsistency or None
        Agreement with the coarser result; None at the coarsest scale.
    weight : float
        lambda_n.
    iterations : int
        Most steps.
    reach : int
        Pixels over which the noise is correlated.
    crops : int
        How many crops of the image a step sees; 0 for all of it.
    before : int
        Steps of a first part of the fit, whose course this one continues.
    """

    target: Tensor
    sigma: float
    guide: Tensor | None
    noise: NoiseBank | None
    consistency: ScaleConsistency | None
    weight: float
    iterations: int
    reach: int
    crops: int = 0
    before: int = 0

    @property
    def course(self) -> int:
        """Steps over which losses and learning rate change: those before, too."""
        return self.before + self.iterations


@dataclass(frozen=True, eq=False)
class Step:
    """One optimisation step.

    Attributes
    ----------
    iteration : int
        From 1.
    loss : float
        Total loss (eq. 2).
    average : Tensor
        ``(1, C, H, W)`` running average of the outputs; may change with the next step.
    share : float
        Of the fit's work that is done, about.
    """

    iteration: int
    loss: float
    average: Tensor
    share: float


@dataclass(frozen=True, eq=False)
class Fit:
    """A finished fit.

    Attributes
    ----------
    image : Tensor
        ``(1, C, H, W)``, normalised.
    iterations : int
        Steps taken.
    reason : StopReason
        Why it ended.
    """

    image: Tensor
    iterations: int
    reason: StopReason


def fit_scale(
    problem: Problem,
    network: Network,
    options: Options,
    rng: torch.Generator,
    *,
    precision: str = "float32",
    should_stop: Callable[[], bool] = never,
) -> Generator[Step, None, Fit]:
    """Optimise a generator until it has converged (eq. 1 and 2), step by step.

    Parameters
    ----------
    problem : Problem
        What to reproduce.
    network : Network
        The generator, changed in place.
    options : Options
        Losses, schedule, stopping.
    rng : torch.Generator
        Source of all randomness, on the CPU.
    precision : {"float32", "bfloat16"}
        Format of the convolutions.
    should_stop : callable
        Asked before every step.

    Yields
    ------
    Step
        One for each step.

    Returns
    -------
    Fit
        The averaged output.
    """
    steps = (_CropSteps if problem.crops else _Steps)(problem, options, rng)
    network.train()
    descend = descent_on(problem.target.device, network, steps.loss)
    share = _schedule(problem, options)
    value = math.nan
    work = problem.iterations + steps.last
    for iteration in range(1, problem.iterations + 1):
        if should_stop():
            return Fit(steps.best(), iteration - 1, StopReason.CANCELLED)
        with _computing(problem.target.device, precision):
            shown, asked, turn = steps.draw()
            loss, output = descend(
                shown,
                asked,
                turn,
                options.learning_rate * share(iteration - 1),
                absolute=steps.is_absolute(iteration),
            )
            value = float(loss)
            steps.average_in(output, iteration)
            reason = steps.ended(network, iteration, value)
        yield Step(iteration, value, steps.average, iteration / work)
        if reason is not None:
            return Fit(steps.best(), iteration, reason)
    if isinstance(steps, _CropSteps):
        for n in range(FINAL_PASSES):
            if should_stop():
                return Fit(steps.best(), problem.iterations, StopReason.CANCELLED)
            with _computing(problem.target.device, precision):
                steps.look(network, 1 / (n + 1))
            done = problem.iterations + steps.last * (n + 1) / FINAL_PASSES
            yield Step(problem.iterations, value, steps.average, done / work)
    return Fit(steps.best(), problem.iterations, StopReason.ITERATIONS)


class _Inputs:
    """What the generator sees and is asked for, anew each step (section 3.5)."""

    def __init__(self, problem: Problem, options: Options, rng: torch.Generator) -> None:
        self._problem = problem
        self._options = options
        self._rng = rng
        self._code = self._new_code() if options.code_channels else None
        self._local_rng = _local(rng, problem.target.device)
        self._image: Tensor | None = None

    def _new_code(self) -> Tensor:
        target = self._problem.target
        shape = (1, self._options.code_channels, *target.shape[-2:])
        code = torch.rand(shape, generator=self._rng, dtype=torch.float32)
        return (code * self._options.code_range).to(target.device)

    def draw(self, hidden: HeldOut | None) -> tuple[Tensor, Tensor, int]:
        """Return the generator's input, the image asked for, and the input's symmetry."""
        problem, options = self._problem, self._options
        asked = problem.target
        maps: list[Tensor] = []
        if self._code is not None:
            maps.append(self._perturbed(self._code))
        if problem.guide is not None:
            maps.append(problem.guide)
        if problem.noise is not None:
            noise = problem.noise.draw(self._rng)
            maps.append(self._seen(hidden) + options.recorruption * noise)
            asked = asked - noise / options.recorruption
        turn = self._draw_turn()
        shown = turned(torch.cat(maps, 1), turn)
        return (
            shown.contiguous(memory_format=memory_format(shown.device)),
            asked,
            turn,
        )

    def _seen(self, hidden: HeldOut | None) -> Tensor:
        """Return the noisy image without what is held out of it."""
        if self._image is None:
            target = self._problem.target
            self._image = target if hidden is None else hidden.filled(target)
        return self._image

    def _perturbed(self, code: Tensor) -> Tensor:
        if not self._options.perturbation:
            return code
        where = self._local_rng.device
        noise = torch.randn(
            code.shape, generator=self._local_rng, device=where, dtype=code.dtype
        )
        return code.add(noise.to(code.device), alpha=self._options.perturbation)

    def _draw_turn(self) -> int:
        if not self._options.symmetries:
            return 0
        return int(torch.randint(SYMMETRIES, (1,), generator=self._rng))


class _Steps:
    """Steps on an image, or on crops of it, whose outputs are averaged.

    Attributes
    ----------
    last : float
        What is to be done after the last step, in steps.
    """

    last = 0.0

    def __init__(self, problem: Problem, options: Options, rng: torch.Generator) -> None:
        self._decay = options.average
        self._inputs = _Inputs(problem, options, rng)
        self._course = _Course(problem, options, rng)
        self.loss, self.is_absolute = self._course.loss, self._course.is_absolute
        self.average = torch.zeros_like(problem.target)

    def draw(self) -> tuple[Tensor, Tensor, int]:
        """Return the generator's input, the image asked for, and the input's symmetry."""
        return self._inputs.draw(self._course.hidden)

    def average_in(self, output: Tensor, iteration: int) -> None:
        """Take the output of a step."""
        self.average.lerp_(output, 1 - _decay(self._decay, iteration))

    def ended(self, network: Network, iteration: int, loss: float) -> StopReason | None:
        """Return why the fit ends after a step, or None if it goes on."""
        return self._course.ended(iteration, loss, self.average)

    def best(self) -> Tensor:
        """Return the average to keep."""
        return self._course.best(self.average)


class _CropSteps(_Steps):
    """Steps on crops; now and then, and in the end, the whole image is looked at."""

    def __init__(self, problem: Problem, options: Options, rng: torch.Generator) -> None:
        super().__init__(_cropped(problem, rng), options, rng)
        self._whole = _Inputs(problem, options, rng)
        crops = problem.crops * CROP_SIDE**2
        self.last = FINAL_PASSES * PASS_WORK * problem.target[0, 0].numel() / crops
        self.average = torch.zeros_like(problem.target)

    def average_in(self, output: Tensor, iteration: int) -> None:
        """Leave it: the crops are not the image."""

    def ended(self, network: Network, iteration: int, loss: float) -> StopReason | None:
        """Go on: to see whether the result has settled would cost more than that."""
        if iteration % STEPS_PER_PASS == 1:
            self.look(network, 1.0)
            network.train()
        return None

    @torch.no_grad()
    def look(self, network: Network, weight: float) -> None:
        """Average in, with this weight, what the network makes of the whole image."""
        # Normalised like the crops, whose statistics it has learned with.
        network.eval()
        shown, _, turn = self._whole.draw(None)
        self.average.lerp_(turned_back(network(shown).float(), turn), weight)


def _cropped(problem: Problem, rng: torch.Generator) -> Problem:
    """Return the problem on crops of its image alone."""
    crops = Crops.spread(problem.target, CROP_SIDE, problem.crops, rng)
    noise, consistency = problem.noise, problem.consistency
    size = (problem.target.shape[-2], problem.target.shape[-1])
    return replace(
        problem,
        target=crops.cut(problem.target),
        noise=None if noise is None else noise.cropped(crops),
        consistency=None if consistency is None else consistency.cropped(crops, size),
    )


class _Course:
    """The loss over the iterations, and when to end them."""

    def __init__(self, problem: Problem, options: Options, rng: torch.Generator) -> None:
        self._problem = problem
        self._l1_until = round(options.l1_fraction * problem.course) - problem.before
        target = problem.target
        size = (target.shape[-2], target.shape[-1])
        self.hidden: HeldOut | None = None
        self._plateau: Plateau | None = None
        self._settled: Settled | None = None
        if options.stopping == "held-out":
            found = HeldOut(size, problem.reach, options.patience, rng)
            self.hidden = found.to(str(target.device))
        elif options.stopping == "plateau":
            self._plateau = Plateau(options.patience)
        elif options.stopping == "settled":
            self._settled = Settled(options.patience)

    def is_absolute(self, iteration: int) -> bool:
        """Return whether a step measures by L1 instead of L2."""
        return iteration <= self._l1_until

    def loss(self, output: Tensor, asked: Tensor, absolute: bool) -> Tensor:
        """Return the total loss (eq. 2), by L1 or L2."""
        fitted = None if self.hidden is None else self.hidden.fitted
        total = reconstruction_loss(output, asked, absolute=absolute, weight=fitted)
        consistency = self._problem.consistency
        if consistency is not None and self._problem.weight:
            total = total + self._problem.weight * consistency(output)
        return total

    def ended(self, iteration: int, loss: float, average: Tensor) -> StopReason | None:
        """Return why the fit ends after this step, or None if it goes on."""
        target = self._problem.target
        if self._plateau is not None:
            if iteration == self._l1_until + 1:
                self._plateau.restart()
            reached = self._plateau.reached(loss)
            changes = self.is_absolute(iteration) and not self.is_absolute(
                self._problem.iterations
            )
            return StopReason.PLATEAU if reached and not changes else None
        if self._settled is not None and self._settled.reached(average, target):
            return StopReason.SETTLED
        if self.hidden is not None and self.hidden.reached(average, target):
            return StopReason.HELD_OUT
        return None

    def best(self, average: Tensor) -> Tensor:
        """Return the average to keep."""
        if self.hidden is not None and self.hidden.best is not None:
            return self.hidden.best
        return average.clone()


def _local(rng: torch.Generator, device: torch.device) -> torch.Generator:
    """Return a source of randomness on a device that draws much faster than the CPU."""
    if device.type != "cuda":
        return rng
    seed = int(torch.randint(2**31, (1,), generator=rng))
    return torch.Generator(device).manual_seed(seed)


def _decay(average: float, iteration: int) -> float:
    return min(average, (iteration - 1) / (iteration + _WARM_UP))


def _schedule(problem: Problem, options: Options) -> Callable[[int], float]:
    if options.schedule == "constant":
        return lambda _: 1.0

    def cosine(iteration: int) -> float:
        phase = math.pi * min((problem.before + iteration) / problem.course, 1.0)
        return _LOWEST_RATE + (1 - _LOWEST_RATE) * (1 + math.cos(phase)) / 2

    return cosine


@contextmanager
def _computing(device: torch.device, precision: str) -> Iterator[None]:
    """Gradients on, and the wanted format, for the length of one step."""
    with torch.enable_grad(), casting(device, precision):
        yield
