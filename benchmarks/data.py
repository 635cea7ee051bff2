"""The benchmark's images: where they lie, how they pair up, what noise is added."""

from __future__ import annotations

import fnmatch
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = [
    "DATA_VARIABLE",
    "NOISES",
    "SETS",
    "SYNTHETIC_PROTOCOLS",
    "Case",
    "Sample",
    "add_noise",
    "centre_crop",
    "data_root",
    "list_cases",
    "load",
]

Array = npt.NDArray[Any]

DATA_VARIABLE = "NAPARI_MSDIP_BENCHMARK_DATA"
REAL = "real"
AS_IS = "as-is"

SYNTHETIC_PROTOCOLS = ("unclipped", "clipped")


@dataclass(frozen=True)
class ImageSet:
    """A folder of images.

    Attributes
    ----------
    clean : str
        Glob of the clean images below the data folder.
    noisy_of : callable or None
        Path of the clean image to the paths of its noisy ones; None where the
        benchmark adds the noise.
    """

    clean: str
    noisy_of: Callable[[Path], Sequence[Path]] | None = None


def _renamed(old: str, new: str) -> Callable[[Path], Sequence[Path]]:
    def noisy_of(clean: Path) -> Sequence[Path]:
        return [clean.parents[1] / "noisy" / clean.name.replace(old, new)]

    return noisy_of


def _realisations(clean: Path) -> Sequence[Path]:
    return sorted((clean.parents[1] / "raw").glob(f"{clean.stem}_*.png"))


def _same_stem_or_only(clean: Path) -> Sequence[Path]:
    folder = clean.parents[1] / "noisy"
    noisy = sorted(folder.iterdir())
    same = [file for file in noisy if file.stem == clean.stem]
    if len(same) == 1:
        return same
    if len(noisy) == len(list(clean.parent.glob(f"*{clean.suffix}"))) == 1:
        return noisy
    raise ValueError(
        f"{clean}: which of the {len(noisy)} files in {folder} is its noisy image? Give "
        f"one alone the name {clean.stem}"
    )


SETS: dict[str, ImageSet] = {
    "Set9": ImageSet("Set9/*.png"),
    "CBSD68": ImageSet("CBSD68/*.png"),
    "CC15": ImageSet("CC15/clean/*.png", _renamed("_mean", "_real")),
    "PolyU": ImageSet("PolyU/clean/*.JPG", _renamed("_mean", "_real")),
    "FMD": ImageSet("FMD/gt/*.png", _realisations),
    "FMD-means": ImageSet("FMD/gt/*.png"),
    "Bacteria_16bit": ImageSet("Bacteria_16bit/clean/*.png", _same_stem_or_only),
}


@dataclass(frozen=True)
class Case:
    """One noisy image to denoise.

    Attributes
    ----------
    set, image : str
        Names of the set and of the noisy image.
    noise : str
        One of :data:`NOISES`, or ``"real"``.
    protocol : str
        ``"clipped"`` or ``"unclipped"`` synthetic noise, ``"as-is"`` for real.
    clean, noisy : Path
        Files; both the clean one where the noise is synthetic.
    """

    set: str
    image: str
    noise: str
    protocol: str
    clean: Path
    noisy: Path


@dataclass(frozen=True, eq=False)
class Sample:
    """A case's pixels, (Y, X) or (Y, X, 3).

    Attributes
    ----------
    noisy : ndarray
        Real noise: the file's dtype; synthetic: float32 in the file's units.
    clean : ndarray
        float64 in the file's units.
    data_range : float
        What PSNR and SSIM relate errors to: 255 for 8-bit files; the clean
        image's own maximum minus minimum for 16-bit ones, whose container is
        far wider than their content.
    sigma : float or None
        Standard deviation of the added noise where it is the same everywhere.
    bounded : bool
        Whether the noisy values are confined to the file's range, so that
        estimates may be, too.
    """

    noisy: Array
    clean: Array
    data_range: float
    sigma: float | None
    bounded: bool


def data_root(given: str | os.PathLike[str] | None = None) -> Path:
    """Return the data folder: as given, by environment variable, or ../shared/data.

    Raises
    ------
    FileNotFoundError
        If it is not there.
    """
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    root = Path(given or os.environ.get(DATA_VARIABLE) or beside)
    if not root.is_dir():
        raise FileNotFoundError(
            f"data={str(root)!r}: no such folder; give --data or set {DATA_VARIABLE}"
        )
    return root


def list_cases(
    root: Path,
    sets: Iterable[str],
    *,
    images: Sequence[str] = (),
    noises: Sequence[str] = ("gauss25",),
    protocols: Sequence[str] = ("unclipped",),
) -> list[Case]:
    """List the cases of some sets.

    Parameters
    ----------
    root : Path
        Data folder.
    sets : iterable of str
        Names out of :data:`SETS`.
    images : sequence of str
        Glob patterns, one of which an image's name must match; all if empty.
    noises, protocols : sequence of str
        What to add to clean sets; real sets stay as they are.

    Raises
    ------
    ValueError
        If a set, noise or protocol has no such name, or it is not clear which noisy
        image belongs to a clean one.
    FileNotFoundError
        If a set has no files.
    """
    _check_names("noise", noises, NOISES)
    _check_names("protocol", protocols, SYNTHETIC_PROTOCOLS)
    cases: list[Case] = []
    for name in sets:
        _check_names("set", [name], SETS)
        cases += _cases_of_set(root, name, noises, protocols)
    return [case for case in cases if _matches(case.image, images)]


def _cases_of_set(
    root: Path, name: str, noises: Sequence[str], protocols: Sequence[str]
) -> list[Case]:
    chosen = SETS[name]
    files = sorted(root.glob(chosen.clean))
    if not files:
        raise FileNotFoundError(f"set={name!r}: no files match {root / chosen.clean}")
    if chosen.noisy_of is None:
        return [
            Case(name, file.stem, noise, protocol, file, file)
            for file in files
            for noise in noises
            for protocol in protocols
        ]
    return [
        Case(name, noisy.stem, REAL, AS_IS, file, noisy)
        for file in files
        for noisy in chosen.noisy_of(file)
    ]


def _check_names(what: str, names: Iterable[str], known: Iterable[str]) -> None:
    for name in names:
        if name not in known:
            raise ValueError(f"{what}={name!r}: choose among {', '.join(known)}")


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return not patterns or any(fnmatch.fnmatchcase(name, each) for each in patterns)


def load(case: Case, *, crop: int | None = None) -> Sample:
    """Read a case, add its noise and cut out the centre.

    Parameters
    ----------
    case : Case
        What to read.
    crop : int or None
        Side of the central square in pixels; None: the whole image.
    """
    clean_file = _read(case.clean)
    clean = clean_file.astype(np.float64)
    eight_bit = clean_file.dtype == np.uint8
    sigma: float | None = None
    if case.noise == REAL:
        noisy = _read(case.noisy)
    else:
        noisy = add_noise(clean, case.noise, seed=zlib.crc32(case.image.encode()))
        sigma = NOISES[case.noise].sigma
        if case.protocol == "clipped":
            noisy = noisy.clip(0, 255)
    clean, noisy = centre_crop(clean, crop), centre_crop(noisy, crop)
    return Sample(
        noisy=np.ascontiguousarray(noisy),
        clean=np.ascontiguousarray(clean),
        data_range=255.0 if eight_bit else float(np.ptp(clean)),
        sigma=sigma,
        bounded=case.protocol != "unclipped",
    )


def _read(path: Path) -> Array:
    from PIL import Image

    with Image.open(path) as file:
        return np.asarray(file)


def centre_crop(image: Array, side: int | None) -> Array:
    """Cut the central square out of a (Y, X[, C]) image; smaller sides stay whole."""
    if side is None:
        return image
    starts = [max(0, (size - side) // 2) for size in image.shape[:2]]
    return image[tuple(slice(start, start + side) for start in starts)]


@dataclass(frozen=True)
class Noise:
    """A kind of synthetic noise, for images in 0..255.

    Attributes
    ----------
    add : callable
        ``(clean, rng) -> noisy``.
    sigma : float or None
        Its standard deviation, where that is one number.
    """

    add: Callable[[Array, np.random.Generator], Array]
    sigma: float | None = None


def _white(sigma: float) -> Noise:
    return Noise(lambda clean, rng: clean + rng.normal(0, sigma, clean.shape), sigma)


def _poisson_gaussian(photons: float, read_noise: float) -> Noise:
    def add(clean: Array, rng: np.random.Generator) -> Array:
        counts = rng.poisson(clean / 255 * photons) + rng.normal(0, read_noise, clean.shape)
        return counts * (255 / photons)

    return Noise(add)


def _correlated(sigma: float, blur: float) -> Noise:
    def add(clean: Array, rng: np.random.Generator) -> Array:
        from scipy.ndimage import gaussian_filter

        axes = (blur, blur) + (0,) * (clean.ndim - 2)
        field = gaussian_filter(rng.normal(0, 1, clean.shape), axes, mode="wrap")
        return np.asarray(clean + field * (sigma / field.std()))

    return Noise(add, sigma)


def _along_lines(sigma: float, length: int) -> Noise:
    def add(clean: Array, rng: np.random.Generator) -> Array:
        from scipy.ndimage import uniform_filter1d

        field = uniform_filter1d(rng.normal(0, 1, clean.shape), length, axis=1, mode="wrap")
        return np.asarray(clean + field * (sigma / field.std()))

    return Noise(add, sigma)


def _speckle(looks: float) -> Noise:
    return Noise(lambda clean, rng: clean * rng.gamma(looks, 1 / looks, clean.shape))


def _multiplied(photons: float) -> Noise:
    """Photons through a register that multiplies each by a random gain."""

    def add(clean: Array, rng: np.random.Generator) -> Array:
        counts = rng.poisson(clean / 255 * photons)
        electrons = rng.gamma(np.maximum(counts, 1)) * (counts > 0)
        return np.asarray(electrons * (255 / photons))

    return Noise(add)


def _median_filtered(sigma: float) -> Noise:
    def add(clean: Array, rng: np.random.Generator) -> Array:
        from scipy.ndimage import median_filter

        window = (3, 3) + (1,) * (clean.ndim - 2)
        noisy = clean + rng.normal(0, sigma, clean.shape)
        return np.asarray(median_filter(noisy, window))

    return Noise(add)


def _hot_pixels(photons: float, share: float) -> Noise:
    def add(clean: Array, rng: np.random.Generator) -> Array:
        noisy = rng.poisson(clean / 255 * photons) * (255.0 / photons)
        hot = rng.random(clean.shape[:2]) < share
        noisy[hot] += 255 * rng.uniform(0.5, 1, noisy[hot].shape)
        return np.asarray(noisy)

    return Noise(add)


NOISES: dict[str, Noise] = {
    "gauss10": _white(10),
    "gauss15": _white(15),
    "gauss25": _white(25),
    "gauss50": _white(50),
    "poisson": _poisson_gaussian(photons=60, read_noise=1.5),
    "correlated": _correlated(25, blur=1.0),
    "photons1": _poisson_gaussian(photons=1, read_noise=0),
    "photons5": _poisson_gaussian(photons=5, read_noise=0),
    "photons30": _poisson_gaussian(photons=30, read_noise=0),
    "lines": _along_lines(15, length=3),
    "speckle": _speckle(looks=8),
    "multiplied": _multiplied(photons=20),
    "median": _median_filtered(40),
    "hot": _hot_pixels(photons=40, share=0.002),
}


def add_noise(clean: Array, noise: str, *, seed: int) -> Array:
    """Add noise to a clean image in 0..255.

    Parameters
    ----------
    clean : ndarray
        (Y, X) or (Y, X, C).
    noise : str
        Out of :data:`NOISES`: ``gaussN`` white Gaussian with standard deviation
        N; ``poisson`` shot noise of 60 photons at 255 plus read noise of 1.5
        photons; ``correlated`` Gaussian of standard deviation 25 blurred by a
        Gaussian of 1 pixel; ``photonsN`` shot noise of N photons at 255; ``lines``
        Gaussian of standard deviation 15, each value shared by three pixels of a line;
        ``speckle`` the image times gamma noise of eight looks; ``multiplied`` shot
        noise of 20 photons at 255 after electron multiplication; ``median`` white noise
        of standard deviation 40 after a median of 3×3 pixels; ``hot`` shot noise of 40
        photons at 255 with 0.2 % of all pixels brighter by half the range or more.
    seed : int
        Same seed and shape: same noise.

    Returns
    -------
    ndarray
        float32, not clipped.
    """
    rng = np.random.default_rng(seed)
    return NOISES[noise].add(np.asarray(clean, np.float64), rng).astype(np.float32)
