"""Fit the weights that tell how much of a noisy image had better stay.

Run ``python -m benchmarks.insurance [--data FOLDER] [--pictures FOLDER…]``. White noise
is added to crops of clean pictures, made gray, and to drawings; micrographs bring their
own. What measuring the noise shows of each crop, and how many times too high the level is
that it finds, are what the weights in ``_noise/insurance.py`` are fitted to. It takes a
quarter of an hour on two cores; set ``OMP_NUM_THREADS=1``, as each has a process.

With a share s of the noisy image in the result, the mean squared error over the noise's
is s² + 2 s (1 − s) x + (1 − s)² k, where k is the error of the engine's own result, and x
its product with the noise, both over the noise's power. Denoising all crops would take a
day. So some are denoised, and x and the power q that is removed of the level found are
read off the evidence of the others by a linear fit to those; then k = ρ² q − 1 + 2 x where
the level is ρ times the true one.

What is minimised is the mean of the change in dB and, counted ``AVERSION`` times, of what
is lost beyond ``BEARABLE``. The table compares it, each eighth of the pictures told by
weights that were fitted without them, with today's and with keeping nothing: mean gain,
and how many crops lose more than 0.3 dB, for noise up to 1.2, 2.5, 5.5 and above.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
import numpy.typing as npt
import torch
from skimage import color, data, io
from skimage.transform import rescale

from benchmarks.data import data_root, list_cases, load
from benchmarks.drawings import DRAWINGS
from napari_msdip import denoise
from napari_msdip._noise import flattest, insurance
from napari_msdip.noise import estimate_sigma

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Executor

    from torch import Tensor

    from napari_msdip._noise.kind import Evidence

Array = npt.NDArray[Any]

LEVELS = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0, 10.0, 15.0, 25.0)
PHOTONS = (15.0, 40.0, 100.0, 600.0)
LONGEST_SIDE = 1100
# Sides of crops: in the middle, at random places, and of the picture at half its size.
MIDDLES, ANYWHERE, HALVED = (400, 256), (256, 160, 160, 160, 128, 128), (256, 128)
# Drawings and shots are fewer than pictures, and nearer to what users have.
RARE = 20.0
# Of small crops as many are denoised as that takes minutes, of all kinds and levels.
DENOISED_EVERY, DENOISED_SIDE = 29, 192
PARTS = 8
AVERSION, BEARABLE = 10.0, 0.15
RIDGE = 2e-3
# As many steps of a quasi-Newton method as ever made a difference.
STEPS = 150


@dataclass(frozen=True)
class Crop:
    """A part of a clean picture, and the same with noise.

    Attributes
    ----------
    picture : str
        Its name.
    clean, noisy : ndarray
        ``(Y, X)``.
    weight : float
        How much it counts.
    """

    picture: str
    clean: Array
    noisy: Array
    weight: float = 1.0

    @property
    def noise(self) -> Array:
        """What was added."""
        return self.noisy - self.clean


@dataclass(frozen=True)
class Seen:
    """What measuring the noise of a crop shows.

    Attributes
    ----------
    crop : Crop
        The crop.
    sigma, found : float
        Level that counts before and after channels and intensities are weighed.
    evidence : Evidence
        What the flattest blocks show.
    share : float
        What stays by today's weights.
    """

    crop: Crop
    sigma: float
    found: float
    evidence: Evidence
    share: float

    @property
    def ratio(self) -> float:
        """Level found over the true one."""
        return self.found / float(self.crop.noise.std())

    @property
    def signs(self) -> dict[str, float]:
        """Values that the weights are for."""
        return insurance.signs_of_texture(self.sigma, self.evidence)

    @property
    def course(self) -> list[float]:
        """What the engine's result depends on, but for the level."""
        sight = self.evidence
        return [
            1.0,
            math.log(sight.level / self.sigma),
            sight.roughness,
            sight.correlation,
            sight.excess,
            math.log(self.sigma / sight.contrast),
            math.log(sight.level / sight.contrast),
        ]


def crops(root: Path, more: Sequence[Path]) -> Iterator[Crop]:
    """Yield all crops, the same ones every time."""
    rng = np.random.default_rng(7)
    yield from micrographs(root)
    yield from drawings(rng)
    for name, picture in pictures([root / "Set9", root / "CBSD68", *more]):
        for number, clean in enumerate(parts(picture, rng)):
            for level in LEVELS:
                noisy = clean + rng.normal(0, level, clean.shape)
                # A third as files hold them.
                stored = np.clip(np.rint(noisy), 0, 255) if number % 3 == 0 else noisy
                yield Crop(name, clean, stored.astype(np.float32))


def pictures(folders: Sequence[Path]) -> Iterator[tuple[str, Array]]:
    """Yield clean pictures, gray, 0 to 255."""
    for folder in folders:
        for file in sorted(folder.iterdir()):
            yield file.name, gray(io.imread(file))
    names = (
        "astronaut coffee chelsea rocket hubble_deep_field immunohistochemistry retina "
        "camera coins moon page brick grass gravel cell clock text"
    )
    for name in names.split():
        yield name, gray(getattr(data, name)())


def gray(picture: Array) -> Array:
    """Return a picture without colours, smaller if it is large."""
    if picture.ndim == 3:
        picture = 255 * color.rgb2gray(picture[..., :3] / 255)
    while max(picture.shape) > LONGEST_SIDE:
        picture = halved(picture)
    return 1.0 * picture


def drawings(rng: np.random.Generator) -> Iterator[Crop]:
    """Yield drawings under photons' and under white noise."""
    for drawing in DRAWINGS:
        for seed in range(4):
            drawn = drawing(np.random.default_rng(seed))
            clean = 255 * drawn / drawn.max()
            for photons in PHOTONS:
                counts = rng.poisson(clean * photons / 255) * 255 / photons
                yield Crop(drawing.__name__, clean, counts.astype(np.float32), RARE)
            for level in LEVELS[2:]:
                noisy = clean + rng.normal(0, level, clean.shape)
                yield Crop(drawing.__name__, clean, noisy.astype(np.float32), RARE)


def micrographs(root: Path) -> Iterator[Crop]:
    """Yield single frames, and the mean of many in place of a clean one."""
    for case in list_cases(root, ("FMD", "Bacteria_16bit")):
        for side in (256, 160):
            sample = load(case, crop=side)
            noisy = sample.noisy.astype(np.float32)
            yield Crop(case.clean.stem, sample.clean, noisy, RARE)


def parts(picture: Array, rng: np.random.Generator) -> Iterator[Array]:
    """Yield crops of a picture."""
    for source, sides, middle in (
        (picture, MIDDLES, True),
        (picture, ANYWHERE, False),
        (halved(picture), HALVED, False),
    ):
        for side in sides:
            free = [max(length - side, 0) for length in source.shape]
            row, column = (
                (f // 2 if middle else int(rng.integers(0, f + 1))) for f in free
            )
            yield source[row : row + side, column : column + side]


def halved(picture: Array) -> Array:
    return np.clip(rescale(1.0 * picture, 0.5, anti_aliasing=True), 0, 255)


def look(crop: Crop) -> Seen | None:
    """Measure a crop's noise; None if it is not taken for white."""
    planar = crop.noisy[np.newaxis]
    with mock.patch.object(
        flattest, "share_in_gray", side_effect=insurance.share_in_gray
    ) as asked:
        noise = flattest.measure_noise(planar, estimate_sigma(planar, channel_axis=0))
    if not asked.called or not asked.call_args.args[0]:
        return None
    sigma, evidence = asked.call_args.args
    found = float(np.sqrt(np.mean(np.square(noise.sigma_map(planar)))))
    return Seen(crop, sigma, found, evidence, noise.noisy_share)


def denoised(seen: Seen) -> tuple[float, float]:
    """Return x and q of a crop (see above)."""
    crop, share = seen.crop, seen.share
    result = denoise(crop.noisy).image.astype(float)
    error = (result - share * crop.noisy) / (1 - share) - crop.clean
    power = np.mean(np.square(crop.noise))
    error_share, product = np.mean(error**2) / power, np.mean(error * crop.noise) / power
    return product, (1 + error_share - 2 * product) / seen.ratio**2


def courses(all_seen: Sequence[Seen], pool: Executor) -> tuple[Array, Array]:
    """Return x and k of all crops, from those that are denoised."""
    small = [seen for seen in all_seen if max(seen.crop.clean.shape) <= DENOISED_SIDE]
    some = small[::DENOISED_EVERY]
    known = np.array(list(pool.map(denoised, some)))
    evidence = np.array([seen.course for seen in some])
    slopes, *_ = np.linalg.lstsq(evidence, known, rcond=None)
    spread = np.std(known - evidence @ slopes, axis=0).round(3)
    print(f"{len(some)} crops denoised; x and q are met within {spread}", flush=True)
    product, removed = (np.array([seen.course for seen in all_seen]) @ slopes).T
    product, removed = np.clip(product, 0.03, 0.85), np.clip(removed, 0.1, 1.0)
    ratios = np.array([seen.ratio for seen in all_seen])
    errors = np.maximum(ratios**2 * removed - 1 + 2 * product, product**2 + 0.02)
    return product, errors


class Fit:
    """Weights of signs, and what they make of all crops.

    Parameters
    ----------
    all_seen : sequence of Seen
        The crops.
    product, errors : ndarray
        x and k of each.
    """

    def __init__(self, all_seen: Sequence[Seen], product: Array, errors: Array) -> None:
        self.names = list(all_seen[0].signs)
        values = np.array([list(seen.signs.values()) for seen in all_seen])
        self.limits = np.percentile(values, (0.5, 99.5), axis=0)
        values = values.clip(*self.limits)
        self.mean, self.spread = values.mean(axis=0), values.std(axis=0)
        unit = (values - self.mean) / self.spread
        self.unit = torch.from_numpy(np.column_stack([np.ones(len(unit)), unit]))
        self.product, self.errors = torch.from_numpy(product), torch.from_numpy(errors)
        counted = torch.tensor([s.crop.weight for s in all_seen], dtype=torch.float64)
        self.counted = counted / counted.mean()

    def change(self, shares: Tensor) -> Tensor:
        """Return how results change the error, in dB; positive is a loss."""
        error = (
            shares**2
            + 2 * shares * (1 - shares) * self.product
            + (1 - shares) ** 2 * self.errors
        )
        return 10 * torch.log10(error)

    def shares(self, weights: Tensor) -> Tensor:
        """Return what stays by these weights."""
        most, margin = insurance.MOST_AMONG_TEXTURE, insurance.TOO_LITTLE_TO_KEEP
        kept = (most + margin) * torch.sigmoid(self.unit @ weights) - margin
        # Without a kink, so that weights leave zero again.
        return torch.nn.functional.softplus(60 * kept) / 60

    def weights(self, chosen: Tensor) -> Tensor:
        """Fit weights to the chosen crops."""
        weights = torch.zeros(self.unit.shape[1], dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.LBFGS(
            [weights], max_iter=STEPS, line_search_fn="strong_wolfe"
        )

        def loss() -> Tensor:
            optimizer.zero_grad()
            change = self.change(self.shares(weights))[chosen]
            lost = AVERSION * torch.relu(change - BEARABLE)
            total = (self.counted[chosen] * (change + lost)).mean()
            total = total + RIDGE * weights[1:].square().sum()
            total.backward()  # type: ignore[no-untyped-call]
            return total

        optimizer.step(loss)
        return weights.detach()

    def left_out(self, part: Array) -> Tensor:
        """Return what stays of each crop by weights that were fitted to other parts."""
        shares = torch.zeros(len(part), dtype=torch.float64)
        for number in range(PARTS):
            weights = self.weights(torch.from_numpy(part != number))
            here = torch.from_numpy(part == number)
            shares[here] = self.shares(weights)[here]
        return shares

    def report(self) -> None:
        """Print the weights of all crops, in the signs' own units."""
        weights = self.weights(torch.ones(len(self.unit), dtype=torch.bool)).numpy()
        own = weights[1:] / self.spread
        print(f"constant={weights[0] - float(own @ self.mean):.2f}")
        for name, weight, low, high in zip(self.names, own, *self.limits, strict=True):
            print(f'"{name}": ({weight:.2f}, {low:.2f}, {high:.2f}),')


def compare(title: str, change: Array, levels: Array) -> None:
    """Print the mean gain, and how many crops lose more than 0.3 dB, by the noise."""
    cells = []
    for low, high in ((0, 1.2), (1.2, 2.5), (2.5, 5.5), (5.5, math.inf)):
        here = change[(low <= levels) & (levels < high)]
        cells.append(f"{-here.mean():.2f} dB, {np.mean(here > 0.3):.1%} of {len(here)}")
    print(f"{title:18}", " | ".join(cells), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="data folder")
    parser.add_argument(
        "--pictures", type=Path, nargs="*", default=[], help="folders of more pictures"
    )
    arguments = parser.parse_args()
    given = crops(data_root(arguments.data), arguments.pictures)
    # Children of a process whose threads hold locks would wait for ever.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(mp_context=context) as pool:
        looked = pool.map(look, given, chunksize=16)
        all_seen = [seen for seen in looked if seen is not None]
        fit = Fit(all_seen, *courses(all_seen, pool))
    names = sorted({seen.crop.picture for seen in all_seen})
    order = np.random.default_rng(0).permutation(len(names))
    part = np.array([order[names.index(s.crop.picture)] % PARTS for s in all_seen])
    levels = np.array([seen.crop.noise.std() for seen in all_seen])
    today = torch.tensor([seen.share for seen in all_seen], dtype=torch.float64)
    print(f"{len(names)} pictures, {len(all_seen)} crops")
    for title, shares in (
        ("nothing stays", torch.zeros_like(today)),
        ("today's weights", today),
        ("pictures left out", fit.left_out(part)),
    ):
        compare(title, fit.change(shares).numpy(), levels)
    fit.report()


if __name__ == "__main__":
    main()
