"""How far to trust a denoised image, judged without the clean one.

A good denoiser removes noise and nothing else, so what it removed (the residual,
noisy minus denoised) must not know where the structure is, must not change the
mean anywhere, and must be as strong as the noise was. Each of these is a number
here; ``docs/trust.md`` records the experiment behind the limits.
"""

from __future__ import annotations

import enum
import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_msdip._noise.flattest import measure_noise
from napari_msdip.arrays import checked_array
from napari_msdip.hot_pixels import without_hot_pixels
from napari_msdip.noise import estimate_sigma
from napari_msdip.padding import padding
from napari_msdip.pixels import Layout, as_planes, equalised, robust_range, whole_blocks

__all__ = ["QualityReport", "Verdict", "assess"]

Plane = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

# Limits between good and deliberately bad denoisers; see docs/trust.md.
_MOST_EDGE_EXCESS = 1.2
_MOST_REMOVED = 1.45
_MOST_NOISE_LEFT = 0.45
_MOST_SHIFT = 0.02
# Texture in the flattest parts is not noise if what was removed is unrelated to it.
_LEAST_RELATED = 0.15
_LEAST_REMOVED = 0.1
# Noise weaker than this share of the image's range is not worth a verdict.
_HARDLY_ANY_NOISE = 0.004
# What is left of no noise at all once it has been computed with, by the range.
_ROUNDING = 1e-6

_SMOOTHING = 1.0
# So far from padding its edge is still seen, once smoothed.
_RIM = 3
# Of pixels beside padding, for these to be judged without it.
_LEAST_TELLING = 256
_BLOCK = 64
_SUBBLOCK = 16
# Of 8 x 8 pixels, for a part with noise of its own to have a say.
_LEAST_BLOCKS = 64
_SMALLEST_SIDE = 32
_LEVELS = 12
_EDGES = 0.8
_FLATS = 0.5
_IN_UNITS = ("noise_before", "noise_after", "mean_shift")
_LAGS = ((0, 1), (1, 0), (1, 1), (1, -1), (0, 2), (2, 0))


class Verdict(enum.StrEnum):
    """What can be said about a denoised image without the clean one."""

    SAFE = "safe"
    INTENSITY_SHIFTED = "intensity-shifted"
    STRUCTURE_REMOVED = "structure-removed"
    NOISE_REMAINS = "noise-remains"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class QualityReport:
    """What the residual of a denoised image says.

    With several channels every number is that of the worst channel; constant ones that
    were left as they are do not count. Nor do areas of one value, as padding or saturated,
    that were.

    Attributes
    ----------
    verdict : Verdict
        The first of shifted intensity, removed structure and remaining noise that
        goes beyond its limit; safe if none does. Undecided, every number being NaN, if
        the image is smaller than 32 pixels, or all of it, or each channel, constant.
    reason : str
        One sentence for a person.
    noise_before, noise_after : float
        Noise level that ``estimate_sigma`` sees in the noisy and
        in the denoised image, in their units.
    noise_left : float
        Share of the noise's amplitude that is left in the flattest parts: 0 for
        none, 1 for all of it; 0 where there was hardly any. Where noise is stronger in
        some places than in others, in the worst of them.
    mean_shift : float
        Mean of noisy minus denoised, in the image's units.
    block_shift : float
        Largest change of the mean of a 64 x 64 block, less what noise explains, as
        a share of the image's range.
    edge_excess : float
        Energy of the smoothed residual where the denoised image has edges over
        that where it is flat, at equal brightness: 1 if the residual does not know
        where the edges are.
    correlation_excess : float
        Correlation of neighbouring residuals at edges less that in flat parts,
        where it is the noise's own.
    removed_excess : float
        Strength of the smoothed residual over what the noise, as measured in the
        flattest parts of the noisy image, would have: above 1, more than noise was
        removed somewhere. Where there is no noise, over as much as is hardly any.
    """

    verdict: Verdict
    reason: str
    noise_before: float
    noise_after: float
    noise_left: float
    mean_shift: float
    block_shift: float
    edge_excess: float
    correlation_excess: float
    removed_excess: float

    @property
    def numbers(self) -> dict[str, float]:
        """All numbers by name."""
        fields = asdict(self)
        return {name: fields[name] for name in fields if name not in ("verdict", "reason")}


def assess(
    noisy: npt.ArrayLike,
    denoised: npt.ArrayLike,
    *,
    channel_axis: int | None = None,
    hot_pixels_removed: bool = False,
) -> QualityReport:
    """Judge a denoised image without the clean one.

    Parameters
    ----------
    noisy, denoised : array_like
        Shape (Y, X) with a channel axis anywhere, the same for both, in the same
        units; any real dtype.
    channel_axis : int or None
        Channel axis.
    hot_pixels_removed : bool
        Hot pixels were meant to go (``Options.remove_hot_pixels``): the noisy image is
        judged without them, so that they do not count as structure.

    Returns
    -------
    QualityReport
        Verdict, reason and the numbers behind them.

    Raises
    ------
    TypeError
        If an image does not hold real numbers, or the channel axis is no integer.
    ValueError
        If the shapes differ, are not those of one image or lack the channel axis, or
        values are not finite.
    """
    before, after = _planes(noisy, denoised, channel_axis)
    if min(before.shape[1:]) < _SMALLEST_SIDE:
        return _undecided(f"is smaller than {_SMALLEST_SIDE} pixels")
    judged = [
        y.min() < y.max() or (x != y).any() for y, x in zip(before, after, strict=True)
    ]
    if before.min() == before.max() or not any(judged):
        return _undecided("is constant")
    # In float32, and in squares, neither a large offset nor a tiny unit has room.
    low, unit = float(before.min()), float(np.ptp(before))
    before, after = ((image[judged] - low) / unit for image in (before, after))
    if hot_pixels_removed:
        before = without_hot_pixels(before.astype(np.float32)).astype(np.float64)
    telling = _telling(before, after)
    levels, expected, gains = _expected_noise(before, telling)
    channels, calm = zip(
        *(
            _measure(*each, gains)
            for each in zip(before, after, telling, expected, levels, strict=True)
        ),
        strict=True,
    )
    worst = {
        name: max((channel[name] for channel in channels), key=abs) for name in channels[0]
    }
    verdict, reason = _judge(worst, hardly_any_noise=all(calm))
    in_units = {name: worst[name] * unit for name in _IN_UNITS}
    return QualityReport(verdict=verdict, reason=reason, **worst | in_units)


def _planes(noisy: Any, denoised: Any, channel_axis: int | None) -> tuple[Any, Any]:
    before, axis = checked_array(noisy, "noisy", channel_axis)
    after, _ = checked_array(denoised, "denoised", channel_axis)
    if before.shape != after.shape:
        raise ValueError(
            f"denoised: shape {after.shape} is not that of noisy, {before.shape}; give "
            "both in one shape"
        )
    before, after = (as_planes(image, axis).astype(np.float64) for image in (before, after))
    return before, after


def _undecided(why: str) -> QualityReport:
    return QualityReport(
        Verdict.UNDECIDED, f"Nothing to judge: the image {why}.", *([math.nan] * 8)
    )


def _telling(noisy: Plane, denoised: Plane) -> Mask:
    """Return which pixels ``(C, Y, X)`` tell of noise, all where hardly any do.

    Padding that was left alone does not: it would pass for flat parts from which no noise
    was removed, and hide in a mean over all what was removed elsewhere.
    """
    telling = np.ones(noisy.shape, bool)
    flat = padding(noisy)
    if flat is None:
        return telling
    changed = flat & (np.abs(noisy - denoised) > _ROUNDING)
    window = 2 * _RIM + 1
    for channel, here, altered in zip(telling, flat, changed, strict=True):
        rest = ~ndimage.maximum_filter(here, window) | altered
        if np.count_nonzero(rest) >= _LEAST_TELLING:
            channel[:] = rest
    return telling


def _expected_noise(noisy: Plane, telling: Mask) -> tuple[Plane, Plane, Plane]:
    """Return each channel's noise level, and the mean square of its noise once smoothed.

    And the factor by which noise is stronger at each pixel than its intensity tells.
    Measured on all channels together, which tell noise from texture better than one.
    """
    alike = Layout(np.dtype(np.float32), 0)
    planar, layout = equalised(noisy.astype(np.float32), alike)
    noise = measure_noise(planar, estimate_sigma(planar, channel_axis=0))
    variances = noise.sigma_map(planar).astype(np.float64) ** 2
    power = float(np.broadcast_to(variances, telling.shape)[telling].mean())
    # Any noise will do; the same draw every time makes the verdict reproducible.
    (fields,) = noise.fields(noisy.shape[1:], 1, np.random.default_rng(0))
    smooth = ndimage.gaussian_filter(fields, (0, _SMOOTHING, _SMOOTHING))
    gains = np.ones(noisy.shape[1:]) if noise.gains is None else noise.gains
    levels = math.sqrt(power) * np.broadcast_to(layout.gains, len(planar))
    return levels, levels**2 * smooth.var(axis=(1, 2)), gains.astype(np.float64)


def _measure(
    noisy: Plane,
    denoised: Plane,
    telling: Mask,
    expected: float,
    level: float,
    gains: Plane,
) -> tuple[dict[str, float], bool]:
    """Return the numbers of one channel, and whether it had hardly any noise."""
    residual = noisy - denoised
    brightness, edges, flats = _structure(denoised, telling)
    local = residual - ndimage.uniform_filter(residual, _BLOCK + 1)
    smooth = ndimage.gaussian_filter(local, _SMOOTHING)
    removed = float((smooth[telling] ** 2).mean())
    sigma, spread = estimate_sigma(noisy), _range(noisy, telling)
    # An estimator for white noise hardly sees what neighbours share. A level that counts
    # that may be texture's, unless as much was removed.
    noise = max(sigma, min(level, float(residual[telling].std())))
    hardly_any = noise < _HARDLY_ANY_NOISE * spread
    numbers = {
        "noise_before": sigma,
        "noise_after": estimate_sigma(denoised),
        "noise_left": 0.0 if hardly_any else _noise_left(noisy, denoised, gains),
        "mean_shift": float(residual.mean()),
        "block_shift": _block_shift(residual) / (spread or 1.0),
        "edge_excess": _edge_excess((smooth / gains) ** 2, brightness, edges, flats),
        "correlation_excess": _correlation(local, edges) - _correlation(local, flats),
        "removed_excess": _removed_excess(removed, expected, spread),
    }
    return numbers, hardly_any


def _removed_excess(removed: float, expected: float, spread: float) -> float:
    explained = math.sqrt(expected)
    if explained <= _ROUNDING * spread:
        explained = _HARDLY_ANY_NOISE * spread
    return math.sqrt(removed) / explained if explained else 1.0


def _range(image: Plane, telling: Mask) -> float:
    """Return the range of the picture itself, noise and hot pixels left out."""
    low, high = robust_range(ndimage.gaussian_filter(image, 1.0)[telling])
    return float(high - low)


def _gradient(image: Plane, sigma: float) -> Plane:
    across: Plane = ndimage.gaussian_filter(image, sigma, order=(0, 1))
    down: Plane = ndimage.gaussian_filter(image, sigma, order=(1, 0))
    return np.hypot(across, down)


def _structure(image: Plane, telling: Mask) -> tuple[npt.NDArray[np.intp], Mask, Mask]:
    """Return brightness level, edges and flat parts of every pixel.

    Edges and flat parts are told apart within each level: where noise grows with
    brightness, bright edges must be compared with bright flat parts.
    """
    smooth = ndimage.gaussian_filter(image, 1.0)
    gradient = _gradient(image, 1.0)
    limits = np.quantile(smooth[telling], np.linspace(0, 1, _LEVELS + 1))[1:-1]
    level = np.searchsorted(limits, smooth, side="right")
    edges = np.zeros(image.shape, bool)
    flats = np.zeros(image.shape, bool)
    for number in range(_LEVELS):
        here = telling & (level == number)
        if not here.any():
            continue
        low, high = np.quantile(gradient[here], (_FLATS, _EDGES))
        flats |= here & (gradient <= low)
        edges |= here & (gradient >= high) & (gradient > low)
    return level, edges, flats


def _edge_excess(
    energy: Plane, level: npt.NDArray[np.intp], edges: Mask, flats: Mask
) -> float:
    at_edges = at_flats = 0.0
    for number in range(_LEVELS):
        edge, flat = energy[(level == number) & edges], energy[(level == number) & flats]
        if min(edge.size, flat.size) < 20:
            continue
        at_edges += edge.sum()
        at_flats += flat.mean() * edge.size
    return float(at_edges / at_flats) if at_flats > 0 else 1.0


def _correlation(residual: Plane, where: Mask) -> float:
    """Return the mean correlation of neighbouring pixels."""
    found = []
    for down, right in _LAGS:
        shifted = np.roll(residual, (-down, -right), (0, 1))
        here, there = residual[where], shifted[where]
        scale = math.sqrt(float((here**2).sum() * (there**2).sum()))
        found.append(float((here * there).sum()) / scale if scale > 0 else 0.0)
    return sum(found) / len(found)


def _noise_left(noisy: Plane, denoised: Plane, gains: Plane) -> float:
    """Compare fine variation before and after in the flattest fifth of the image.

    Where noise is stronger in some places than in others, the calm ones may be all that
    is flattest: each part with noise of like strength is looked at, and the worst counts.

    Noise that is left resembles noise that was removed, as it came from the same
    field; fine texture of the object does not, and is not counted.
    """
    side = 8
    flatness = whole_blocks(_gradient(denoised, 3.0), side).mean(axis=(1, 3))
    before, after = (
        whole_blocks(image - ndimage.uniform_filter(image, 5), side)
        for image in (noisy, denoised)
    )
    varying = before.var(axis=(1, 3))
    # Blocks without any noise (masks, saturation) say nothing about what is left.
    noisy_blocks = varying > 1e-6 * varying.mean()
    if not noisy_blocks.any():
        return 0.0
    octaves = np.rint(2 * np.log2(whole_blocks(gains, side).mean(axis=(1, 3))))
    parts = [noisy_blocks & (octaves == octave) for octave in np.unique(octaves)]
    least = min(_LEAST_BLOCKS, noisy_blocks.sum() / len(parts))
    return max(
        _left_in(before, after, part & (flatness <= np.quantile(flatness[part], 0.2)))
        for part in parts
        if part.sum() >= least
    )


def _left_in(before: Plane, after: Plane, blocks: Mask) -> float:
    """Return the share of the noise's amplitude that is left in some blocks."""
    varying = before.var(axis=(1, 3))[blocks]
    removed = before - after
    power = float(removed.var(axis=(1, 3))[blocks].mean())
    if power > _LEAST_REMOVED * varying.mean():
        product = (removed * after).mean(axis=(1, 3))
        related = float(product[blocks].mean()) / power
        if related < _LEAST_RELATED:
            return max(related, 0.0)
    left = after.var(axis=(1, 3))[blocks] / varying
    return float(np.sqrt(np.median(left)))


def _block_shift(residual: Plane) -> float:
    """Return the largest mean of a block, less three of its standard errors.

    Blocks are counted from each corner, so that no margin is left out.
    """
    turned = (residual[::down, ::across] for down in (1, -1) for across in (1, -1))
    return max(_block_shift_from_corner(each) for each in turned)


def _block_shift_from_corner(residual: Plane) -> float:
    """Return the largest mean of a block, less three of its standard errors.

    The standard error comes from the scatter of smaller blocks within it, so that
    correlated noise is allowed for.
    """
    side = min(_BLOCK, min(residual.shape) // _SUBBLOCK * _SUBBLOCK)
    per_side = side // _SUBBLOCK
    small = whole_blocks(residual, _SUBBLOCK).mean(axis=(1, 3))
    blocks = whole_blocks(small, per_side)
    means = np.abs(blocks.mean(axis=(1, 3)))
    error = blocks.std(axis=(1, 3), ddof=1) / per_side
    return float(np.maximum(means - 3 * error, 0).max())


def _judge(numbers: dict[str, float], *, hardly_any_noise: bool) -> tuple[Verdict, str]:
    shift, excess = numbers["block_shift"], numbers["edge_excess"]
    left = numbers["noise_left"]
    if shift > _MOST_SHIFT:
        return (
            Verdict.INTENSITY_SHIFTED,
            f"The mean of some 64 x 64 block changed by {shift:.1%} of the image's "
            "range, more than noise explains: do not measure intensities in it.",
        )
    if excess > _MOST_EDGE_EXCESS:
        return (
            Verdict.STRUCTURE_REMOVED,
            f"What was removed is {excess:.1f} times as strong along edges as in flat "
            "parts of the same brightness: fine structure went with the noise.",
        )
    if numbers["removed_excess"] > _MOST_REMOVED:
        return (
            Verdict.STRUCTURE_REMOVED,
            f"What was removed is {numbers['removed_excess']:.1f} times as strong as the "
            "noise can explain: structure went with it.",
        )
    if hardly_any_noise:
        return (
            Verdict.SAFE,
            "The image had hardly any noise, and it was left nearly as it was.",
        )
    if left > _MOST_NOISE_LEFT:
        return (
            Verdict.NOISE_REMAINS,
            f"{left:.0%} of the noise is still there in the flattest parts.",
        )
    return (
        Verdict.SAFE,
        "What was removed looks like noise everywhere: no structure, no shift of "
        f"intensity, and {left:.0%} of the noise left in the flattest parts.",
    )
