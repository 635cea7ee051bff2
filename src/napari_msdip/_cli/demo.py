"""``napari-msdip demo``: one real noisy image, denoised and explained."""

from __future__ import annotations

import json
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_msdip import io
from napari_msdip._cli.console import Interrupt
from napari_msdip._cli.engine import ready
from napari_msdip._cli.exits import Exit, refusing
from napari_msdip._cli.flags import options_from
from napari_msdip._cli.names import scale_path, scales_of
from napari_msdip._judgement import in_words, judged
from napari_msdip._numbers import duration
from napari_msdip.events import Status
from napari_msdip.io import Metadata
from napari_msdip.steps import drive

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from napari_msdip._cli.console import Console
    from napari_msdip._cli.engine import Engine
    from napari_msdip.events import Progress, Result

__all__ = ["demo_image", "run_demo", "side_by_side"]

_WHAT = (
    "The image: 256 x 256 pixels of the Hubble eXtreme Deep Field (NASA, ESA), faint "
    "galaxies with the noise of the telescope's camera."
)
_ZOOM = 3
# Where the enlarged part of the comparison lies.
_DETAIL = (slice(20, 116), slice(112, 208))
_DIFFERENCE_GAIN = 8
_GAP = 8
_CAPTION = 44


def demo_image() -> npt.NDArray[np.uint8]:
    """Return the noisy image that ships with the package: (256, 256, 3), uint8."""
    with as_file(files("napari_msdip") / "data" / "hubble.png") as path:
        with io.open_image(path) as source:
            return np.asarray(source.data)


def run_demo(
    parsed: argparse.Namespace, console: Console, load: Callable[[], Engine]
) -> Exit:
    """Denoise the image, write the results and say what was done."""
    options = options_from(parsed)
    folder = Path(parsed.output)
    targets = {name: folder / name for name in ("noisy.tif", "denoised.tif")}
    targets |= {name: folder / name for name in ("side-by-side.png", "report.json")}
    with refusing():
        for target in (*targets.values(), *scales_of(targets["denoised.tif"])):
            _check(target, overwrite=parsed.overwrite)
    noisy = demo_image()
    console.say(_WHAT)
    console.say(f"Denoising it with the preset {parsed.preset} ...")
    engine = ready(load, options)
    stop = Interrupt(console)

    def show(progress: Progress) -> None:
        scale = f"scale {progress.nth_scale}/{progress.n_scales}"
        console.show(scale, progress.fraction, progress.eta_seconds)

    with stop.listening():
        steps = engine.iter_denoise(noisy, options, channel_axis=-1, should_stop=stop)
        result = drive(steps, show)
    completed = result.status is Status.COMPLETED
    if completed or result.scales:
        quality = judged(
            engine.assess,
            noisy,
            result.image,
            channel_axis=-1,
            hot_pixels_removed=options.remove_hot_pixels,
        )
        scales = _write(targets, noisy, result, quality, overwrite=parsed.overwrite)
        _explain(console, result, quality, targets, scales)
    else:
        console.say("Cancelled before there was anything to show; nothing is written.")
    code = Exit.OK if completed else Exit.CANCELLED
    console.emit({"exit_code": int(code), "folder": str(folder), **result.provenance()})
    return code


def _check(target: Path, *, overwrite: bool) -> None:
    # The report is no image; one of its name, which is not written, may be there.
    is_image = target.suffix != ".json"
    image = target if is_image else target.with_suffix(".tif")
    io.check_output(image, overwrite=overwrite or not is_image)
    if target.exists() and not overwrite:
        raise io.FileError(f"{target}: exists already; --overwrite replaces it")


def _write(
    targets: dict[str, Path],
    noisy: npt.NDArray[Any],
    result: Result,
    quality: dict[str, str],
    *,
    overwrite: bool,
) -> list[Path]:
    """Write every file of the demo; return those of the scales."""
    metadata = Metadata("YXS")
    provenance = result.provenance()
    io.save_image(targets["noisy.tif"], noisy, metadata, overwrite=overwrite)
    io.save_image(
        targets["denoised.tif"],
        result.image,
        metadata,
        overwrite=overwrite,
        provenance=provenance,
    )
    scales = []
    for scale in result.scales:
        path = scale_path(targets["denoised.tif"], scale.scale)
        resampled = metadata.resampled(scale.zoom)
        io.save_image(path, scale.image, resampled, overwrite=overwrite)
        scales.append(path)
    stale = {*scales_of(targets["denoised.tif"])} - {*scales}
    for path in stale if overwrite else ():
        io.discard(path)
    picture = side_by_side(noisy, result.image)
    io.save_image(targets["side-by-side.png"], picture, metadata, overwrite=overwrite)
    report = provenance | {"quality": quality}
    with io.replacing(targets["report.json"], overwrite=overwrite) as temporary:
        temporary.write_text(json.dumps(report, indent=2))
    return scales


def _explain(
    console: Console,
    result: Result,
    quality: dict[str, str],
    targets: dict[str, Path],
    scales: list[Path],
) -> None:
    sizes = ", ".join(f"{s.shape[1]} x {s.shape[0]}" for s in reversed(result.scales))
    steps = sum(scale.iterations for scale in result.scales)
    where = f"{result.plan.device}, {result.plan.precision}"
    if result.status is Status.CANCELLED:
        console.say("Cancelled: what follows is the best image so far, not the final one.")
    console.say(
        f"What was done: found a noise level of {result.sigma:.1f} (of 255), fitted "
        f"{len(result.scales)} scales ({sizes} pixels) in {steps} steps, and fused them."
        if result.plan.options.ensemble
        else f"What was done: found a noise level of {result.sigma:.1f} (of 255) and "
        f"fitted {len(result.scales)} scales ({sizes} pixels) in {steps} steps."
    )
    console.say(f"It took {duration(result.seconds)} ({where}).")
    console.say(f"How far to trust it: {in_words(quality)}")
    console.say("Look first at:")
    console.say(f"  {targets['side-by-side.png']}   noisy, denoised, and what was removed")
    console.say("and then at:")
    console.say(f"  {targets['noisy.tif']}, {targets['denoised.tif']}")
    console.say(f"  {', '.join(str(path) for path in scales)}   finest scale first")
    console.say(f"  {targets['report.json']}   every setting and number")


def side_by_side(
    noisy: npt.NDArray[Any], denoised: npt.NDArray[Any]
) -> npt.NDArray[np.uint8]:
    """Draw noisy, denoised and what was removed, whole above and enlarged below.

    Parameters
    ----------
    noisy, denoised : ndarray
        ``(Y, X, 3)``, of 0 to 255; what lies beyond is drawn as its nearest end.

    Returns
    -------
    ndarray
        ``(height, width, 3)``, uint8; brightness drawn as its square root, because
        the eye sees noise in the dark parts.
    """
    removed = noisy.astype(float) - denoised.astype(float)
    difference = np.clip(127.5 + _DIFFERENCE_GAIN * removed, 0, 255).astype(np.uint8)
    panels = [_brightened(noisy), _brightened(denoised), difference]
    captions = ["noisy", "denoised", f"removed (difference x {_DIFFERENCE_GAIN})"]
    width = _DETAIL[1].stop - _DETAIL[1].start
    enlarge = _ZOOM * noisy.shape[1] // width
    columns = [
        _column(caption, panel, enlarge)
        for caption, panel in zip(captions, panels, strict=True)
    ]
    gap = np.full((columns[0].shape[0], _GAP, 3), 255, np.uint8)
    return np.concatenate([columns[0], gap, columns[1], gap, columns[2]], axis=1)


def _brightened(image: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    return np.asarray(np.sqrt(np.clip(image, 0, 255) / 255.0) * 255 + 0.5, np.uint8)


def _column(
    caption: str, panel: npt.NDArray[np.uint8], enlarge: int
) -> npt.NDArray[np.uint8]:
    from PIL import Image, ImageDraw, ImageFont

    whole = panel.repeat(_ZOOM, 0).repeat(_ZOOM, 1)
    detail = panel[_DETAIL].repeat(enlarge, 0).repeat(enlarge, 1)
    width = max(whole.shape[1], detail.shape[1])
    parts = [np.full((_CAPTION, width, 3), 255, np.uint8)]
    for part in (whole, detail):
        padding = ((0, _GAP), (0, width - part.shape[1]), (0, 0))
        parts.append(np.pad(part, padding, constant_values=255))
    column = Image.fromarray(np.concatenate(parts))
    font = ImageFont.load_default(size=30)
    ImageDraw.Draw(column).text((2, 2), caption, fill=(0, 0, 0), font=font)
    return np.asarray(column)
