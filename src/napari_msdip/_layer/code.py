"""The Python call that computes what a run does, to be pasted into napari's console."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_msdip._layer.axes import is_lazy
from napari_msdip.arrays import without_labels
from napari_msdip.options import PRESETS, Options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_msdip._layer.job import Job

__all__ = ["as_python", "finite_code", "options_code"]

_IMPORTS = {"np.": "import numpy as np", "da.": "import dask.array as da"}


def as_python(job: Job, *, cancelled: bool = False) -> str:
    """Return Python code that computes the same result on the same machine.

    Another one may choose another precision, or tiles for want of memory.

    Parameters
    ----------
    job : Job
        What the run denoises, and how.
    cancelled : bool
        Whether the run was cancelled, so that the code computes a better result.
    """
    axes = job.source.axes
    channel = "" if axes.channel_axis is None else f", channel_axis={axes.channel_axis}"
    if job.n_planes == 1:
        data = _image_code(job)
        lines = (
            "from napari_msdip import Options, denoise",
            "",
            f"image = {data}",
            f"result = denoise(image, {options_code(job.plane_options)}{channel})",
        )
    else:
        data, options = _stack_code(job), options_code(job.options)
        planes = _planes_code(axes.planes(job.box))
        lines = (
            "from napari_msdip import Options, denoise_stack",
            "",
            f"stack = {data}",
            f"result = denoise_stack(stack, {options}{channel}, planes={planes})",
        )
    imports = [line for alias, line in _IMPORTS.items() if alias in data]
    note = ("# The run was cancelled; this call goes on to the end.",)
    return "\n".join((*(note if cancelled else ()), *imports, *lines, ""))


def options_code(options: Options) -> str:
    """Return Python code for options, as the closest preset and what differs."""
    changes = {
        name: {
            key: value
            for key, value in vars(options).items()
            if value != getattr(Options.preset(name), key)
        }
        for name in PRESETS
    }
    nearest = min(PRESETS, key=lambda name: len(changes[name]))
    arguments = ", ".join(f"{key}={value!r}" for key, value in changes[nearest].items())
    if nearest == PRESETS[0]:
        return f"Options({arguments})"
    preset = f"Options.preset({nearest!r})"
    return f"{preset}.replace({arguments})" if arguments else preset


def finite_code(name: str, *, multiscale: bool) -> str:
    """Return a line for napari's console that makes all pixels of a layer numbers.

    napari gives its console ``viewer``, but neither NumPy nor the layer.

    Parameters
    ----------
    name : str
        Name of the layer.
    multiscale : bool
        Whether its data are several levels, each an array.
    """
    pixels = "level" if multiscale else "layer.data"
    # dask's own nan_to_num lets nobody choose what infinity becomes.
    finite = f"np.where(np.isfinite({pixels}), {pixels}, 0)"
    if multiscale:
        finite = f"[{finite} for level in layer.data]"
    return f"import numpy as np; layer = viewer.layers[{name!r}]; layer.data = {finite}"


def _image_code(job: Job) -> str:
    index = job.first_plane()
    code = job.data_code
    if any(part != slice(None) for part in index):
        code += f"[{', '.join(_index_code(part) for part in index)}]"
    return code if isinstance(job.data, np.ndarray) else f"np.asarray({code})"


def _stack_code(job: Job) -> str:
    order = job.source.axes.order
    code, is_moved = job.data_code, order != tuple(range(len(order)))
    if is_moved or job.has_alpha:
        held = without_labels(job.data)
        if held is not job.data:
            code += ".data"
        if not is_lazy(held):
            code = f"da.from_array({code})"
    if is_moved:
        code += f".transpose({order})"
    return code + ("[..., :3]" if job.has_alpha else "")


def _planes_code(planes: Sequence[int]) -> str:
    first, last = planes[0], planes[-1]
    if list(planes) == list(range(first, last + 1)):
        return f"slice({first}, {last + 1})"
    return repr(list(planes))


def _index_code(part: int | slice) -> str:
    if isinstance(part, int):
        return str(part)
    return ":" if part == slice(None) else f":{part.stop}"
