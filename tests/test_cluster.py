"""Stacks on a cluster: the single run's pixels, also when a worker is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import pytest
import zarr

from napari_msdip import Options, Progress, Status
from napari_msdip.planes import plane_seed
from napari_msdip.stack import denoise_stack, iter_denoise_stack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

distributed = pytest.importorskip("distributed")

OPTIONS = Options(
    device="cpu",
    precision="float32",
    threads=1,
    iterations=3,
    coarsest_iterations=None,
    widths=(4, 8),
)
N_PLANES = 12
# Sockets and processes of the cluster are closed by threads of its own.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::UserWarning")


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with (
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
            silence_logs=50,
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def stack() -> Any:
    rng = np.random.default_rng(0)
    return rng.integers(0, 60_000, (N_PLANES, 32, 36)).astype("uint16")


@pytest.fixture(scope="module")
def expected(stack: Any) -> Any:
    return denoise_stack(stack, OPTIONS).image


def test_workers_read_and_write_the_planes(
    client: Any, stack: Any, expected: Any, tmp_path: Path
) -> None:
    source = zarr.create_array(str(tmp_path / "in.zarr"), data=stack, chunks=(1, 32, 36))
    seen: list[Progress] = []
    result = denoise_stack(
        source,
        OPTIONS,
        out=tmp_path / "out.ome.zarr",
        client=client,
        on_progress=seen.append,
    )
    np.testing.assert_array_equal(result.image[:], expected)
    assert not result.failed
    assert sorted(progress.plane for progress in seen) == list(range(N_PLANES))
    fractions = [progress.fraction for progress in seen]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1


@pytest.mark.parametrize("kind", ["numpy", "dask"])
def test_arrays_in_memory_work_too(
    client: Any, stack: Any, expected: Any, kind: str
) -> None:
    source = stack if kind == "numpy" else da.from_array(stack, chunks=(2, 32, 9))
    result = denoise_stack(source, OPTIONS, planes=[4, 1], client=client)
    np.testing.assert_array_equal(result.image, expected[[4, 1]])


def test_killed_worker_loses_only_its_plane(
    client: Any, stack: Any, expected: Any, tmp_path: Path
) -> None:
    killed: list[int] = []

    def kill_one(progress: Progress) -> None:
        if not killed:
            killed.append(next(iter(client.run(os.getpid).values())))
            os.kill(killed[0], signal.SIGKILL)

    source = zarr.create_array(str(tmp_path / "in.zarr"), data=stack, chunks=(1, 32, 36))
    result = denoise_stack(
        source,
        OPTIONS,
        out=tmp_path / "out.ome.zarr",
        client=client,
        on_progress=kill_one,
    )
    assert killed
    assert not result.failed
    np.testing.assert_array_equal(result.image[:], expected)


def test_chunks_of_planes_are_those_of_the_single_run(
    client: Any, stack: Any, tmp_path: Path
) -> None:
    options = OPTIONS.replace(plane_chunk=4)
    out = tmp_path / "out.ome.zarr"
    steps = iter_denoise_stack(stack, options, out=out)
    while next(steps).finished_plane is None:
        pass
    steps.close()
    seen: list[Progress] = []
    resumed = denoise_stack(stack, options, out=out, client=client, on_progress=seen.append)
    np.testing.assert_array_equal(resumed.image[:], denoise_stack(stack, options).image)
    assert sorted(progress.plane for progress in seen) == list(range(1, N_PLANES))


def test_bad_planes_are_reported_from_the_workers(client: Any, stack: Any) -> None:
    bad = stack.astype("float32")
    bad[2, 0, 0] = np.inf
    result = denoise_stack(bad, OPTIONS, client=client)
    assert list(result.failed) == [2]
    np.testing.assert_array_equal(result.image[2], bad[2])
    assert result.plan is not None


def test_cancelled_on_a_cluster_and_resumed_without(
    client: Any, stack: Any, expected: Any, tmp_path: Path
) -> None:
    out = tmp_path / "out.ome.zarr"
    seen: list[Progress] = []
    cancelled = denoise_stack(
        stack,
        OPTIONS,
        out=out,
        client=client,
        on_progress=seen.append,
        should_stop=lambda: bool(seen),
    )
    assert cancelled.status is Status.CANCELLED
    assert cancelled.pending
    resumed = denoise_stack(stack, OPTIONS, out=out)
    np.testing.assert_array_equal(resumed.image[:], expected)


def test_seeds_do_not_depend_on_who_computes(client: Any) -> None:
    futures = client.map(plane_seed, [3] * 4, range(4), pure=False)
    assert client.gather(futures) == [plane_seed(3, index) for index in range(4)]


def test_nothing_of_dask_is_imported_without_a_client() -> None:
    code = (
        "import sys, napari_msdip.stack; "
        "print(sorted({'dask', 'distributed'} & {*sys.modules}))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.stdout.strip() == "[]", ran.stderr
