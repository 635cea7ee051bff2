"""Pictures made on the spot, options that take a second, and a driver of runs."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import imagecodecs
import numpy as np
from skimage import data

from napari_msdip import Options
from napari_msdip.steps import drive

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

Step = TypeVar("Step")
Outcome = TypeVar("Outcome")

TINY = Options(
    device="cpu",
    precision="float32",
    threads=1,
    widths=(8, 8),
    skip_width=4,
    min_size=16,
    iterations=3,
    coarsest_iterations=3,
)


class Labelled:
    """An array as xarray.DataArray shows it: axes have names, and dask may be inside."""

    coords: ClassVar[dict[str, Any]] = {}

    def __init__(self, held: Any) -> None:
        self.data = held
        self.chunks = getattr(held, "chunks", None)
        self.shape, self.dtype, self.ndim = held.shape, held.dtype, held.ndim
        self.dims = tuple(f"dim_{axis}" for axis in range(held.ndim))

    def __getitem__(self, key: Any) -> Labelled:
        return Labelled(self.data[key])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.array(self.data, dtype=dtype)

    @property
    def values(self) -> Any:
        return np.asarray(self.data)

    def __dask_graph__(self) -> Any:
        inner = getattr(self.data, "__dask_graph__", None)
        return None if inner is None else inner()

    def compute(self) -> Labelled:
        return Labelled(np.asarray(self.data))

    def transpose(self, *names: str) -> Labelled:
        if any(name not in self.dims for name in names):
            raise ValueError(f"Dimensions {names} do not exist")
        return Labelled(self.data.transpose([self.dims.index(name) for name in names]))


class LabelledFile(Labelled):
    """The same while the pixels are still in a file: each time they are read anew."""

    def __getitem__(self, key: Any) -> Labelled:
        return Labelled(self.data[key].copy())


def clean_picture(shape: tuple[int, int], channels: int | None = None) -> Floats:
    """Return smooth blobs with a few edges, 0 to 1; channels last."""
    y, x = np.meshgrid(*(np.linspace(0, 1, side) for side in shape), indexing="ij")
    waves = 0.5 + 0.25 * np.sin(7 * x + 2 * y) + 0.15 * np.cos(9 * y - 3 * x)
    waves[(x - 0.6) ** 2 + (y - 0.4) ** 2 < 0.04] += 0.25
    waves[(y > 0.7) & (x < 0.4)] -= 0.2
    picture = np.clip(waves, 0, 1)
    if channels is None:
        return picture
    return np.stack([np.roll(picture, 3 * c, axis=1) for c in range(channels)], axis=-1)


def noisy_picture(
    shape: tuple[int, int],
    channels: int | None = None,
    *,
    sigma: float = 0.1,
    low: float = 0.0,
    high: float = 1.0,
    dtype: Any = np.float32,
    seed: int = 0,
) -> npt.NDArray[Any]:
    """Return the picture from `low` to `high` with white noise, `sigma` of its range."""
    clean = clean_picture(shape, channels)
    noisy = clean + sigma * np.random.default_rng(seed).standard_normal(clean.shape)
    values = low + (high - low) * noisy
    kind = np.dtype(dtype)
    if kind.kind in "iu":
        limits = np.iinfo(kind)
        values = np.clip(np.rint(values), limits.min, limits.max)
    return values.astype(kind)


def cells(shape: tuple[int, ...] = (40, 51), dtype: Any = np.uint16) -> Any:
    """Return counts of a camera, without any structure."""
    return np.random.default_rng(0).integers(100, 1000, shape).astype(dtype)


def driven(steps: Generator[Step, None, Outcome]) -> tuple[Outcome, list[Step]]:
    """Run a generator to its end; return its result and the steps that it told."""
    seen: list[Step] = []
    return drive(steps, seen.append), seen


def rms(difference: npt.NDArray[Any]) -> float:
    """Return the root mean square."""
    return float(np.sqrt(np.mean(np.square(np.asarray(difference, dtype=np.float64)))))


def neighbour_correlation(fields: Any) -> float:
    """Correlation of pixels that share a side, fields being periodic."""
    down = np.mean(fields * np.roll(fields, 1, axis=-2))
    across = np.mean(fields * np.roll(fields, 1, axis=-1))
    return float((down + across) / 2 / np.mean(np.square(fields)))


def check_that_no_compiler_is_loaded(program: str) -> None:
    """Raise if a fresh interpreter that ran this has loaded PyTorch's compiler.

    It ends a process in which a display driver has loaded another LLVM than triton's.
    """
    asked = (
        "import sys; sys.exit('triton' in sys.modules or 'torch._dynamo' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", f"{program}\n{asked}"], check=True)


def gravel(sigma: float) -> Any:
    """Return fine texture (1, Y, X) under white noise."""
    noise = np.random.default_rng(0).normal(0, sigma, (1, 200, 200))
    return (data.gravel()[:200, :200] + noise).astype(np.float32)


def in_jpeg(image: Any, quality: int) -> Any:
    """Return an image of 0 to 255, (Y, X) or (Y, X, 3), as it comes back from a JPEG."""
    counts = np.clip(np.round(image), 0, 255).astype(np.uint8)
    return imagecodecs.jpeg8_decode(imagecodecs.jpeg8_encode(counts, quality))


def in_photons(drawing: Callable[[Any], Any], photons: float, seed: int) -> tuple[Any, Any]:
    """Draw, and count so many photons at the brightest; return clean and noisy."""
    rng = np.random.default_rng(seed)
    drawn = drawing(rng)
    clean = photons * drawn / drawn.max()
    return clean, rng.poisson(clean).astype(np.float32)
