"""Jobs on layers made on the spot, and a run to its end."""

from __future__ import annotations

from napari.layers import Image
from tests.samples import driven

from napari_msdip._layer.axes import parse_axes
from napari_msdip._layer.job import Job
from napari_msdip._layer.layers import Source
from napari_msdip.options import Options


def job_on(data, letters, box=None, options=None, **layer_settings):
    layer = Image(data, name="cells", **layer_settings)
    axes = parse_axes(letters, data.shape, rgb=layer.rgb)
    return Job(
        data=data,
        source=Source.of(layer, axes),
        box=axes.whole() if box is None else box,
        options=options or Options(),
        data_code="viewer.layers['cells'].data",
    )


def finish(job, engine):
    finished, _ = driven(job.run(engine, job.buffer(), lambda: False))
    return finished
