"""Stacks on a cluster: the single run's pixels, also when a worker is killed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask
import dask.array as da
import numpy as np
import pytest
import zarr

from napari_msdip import Options, Progress, Status, io, tiling
from napari_msdip._stack import plane
from napari_msdip._stack.zarr_planes import ZarrWriter
from napari_msdip._stack.zarr_sink import ZarrSink
from napari_msdip.planes import PlaneLayout
from napari_msdip.seeds import plane_seed
from napari_msdip.stack import denoise_stack, iter_denoise_stack

if TYPE_CHECKING:
    from collections.abc import Iterator

distributed = pytest.importorskip("distributed")
cluster = pytest.importorskip("napari_msdip._stack.cluster")

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


@contextmanager
def started(n_workers: int, *, processes: bool = True) -> Iterator[Any]:
    """Start workers; one that dies is started again, however long that takes.

    Dask gives a worker up that is not back after 15 s, and importing PyTorch alone
    takes longer on a busy machine.
    """
    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "1h"}),
        distributed.LocalCluster(
            n_workers=n_workers,
            threads_per_worker=1,
            processes=processes,
            dashboard_address=None,
            silence_logs=50,
        ) as workers,
        distributed.Client(workers) as client,
    ):
        yield client


def kill_one(client: Any) -> None:
    os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with started(2) as client:
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
    assert all(progress.total == 0 for progress in seen)
    assert all(progress.finished_plane is None for progress in seen)


@pytest.mark.parametrize("kind", ["numpy", "dask"])
def test_arrays_in_memory_work_too(
    client: Any, stack: Any, expected: Any, kind: str
) -> None:
    source = stack if kind == "numpy" else da.from_array(stack, chunks=(2, 32, 9))
    result = denoise_stack(source, OPTIONS, planes=[4, 1], client=client)
    np.testing.assert_array_equal(result.image, expected[[4, 1]])


def test_a_stack_of_the_other_byte_order_is_resumed(
    client: Any, stack: Any, expected: Any, tmp_path: Path
) -> None:
    source = da.from_array(stack[:2].astype(stack.dtype.newbyteorder()), chunks=(1, 32, 36))
    for _ in range(2):
        result = denoise_stack(
            source, OPTIONS, out=tmp_path / "out.ome.zarr", client=client
        )
    np.testing.assert_array_equal(result.image[:], expected[:2])


class Within:
    """A stack whose planes come from dask though it is no collection of dask itself."""

    shape, dtype = (8, 32, 36), np.dtype("u2")

    def __getitem__(self, key: Any) -> Any:
        return da.zeros(self.shape, self.dtype, chunks=(1, 32, 9))[key]


@pytest.mark.parametrize("source", [da.zeros((8, 32, 36), chunks=(1, 32, 9)), Within()])
def test_planes_of_dask_are_read_without_touching_its_settings(
    source: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    digested = plane.digest

    def spy(plane: Any) -> str:
        seen.append(dask.config.get("scheduler", None))
        return digested(plane)

    monkeypatch.setattr(plane, "digest", spy)
    with started(1, processes=False) as client:
        before = dask.config.get("scheduler", None)
        result = denoise_stack(source, OPTIONS, client=client)
    assert not result.failed
    assert seen == [before] * 8


def test_tiles_are_chosen_by_the_workers_memory_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limits: list[int | None] = []
    monkeypatch.setattr(
        tiling, "choose_tile", lambda plan, limit: limits.append(limit) or 128
    )
    with started(1, processes=False) as client:
        for worker in client.cluster.workers.values():
            worker.memory_manager.memory_limit = 950 * 2**20
            worker.state.nthreads = 2
        surroundings = cluster.survey(client, OPTIONS, (900, 900), 1)
    assert limits == [950 * 2**20 // 2]
    assert surroundings.pinned["tile"] == 128


def test_workers_may_have_been_started_in_another_folder(
    client: Any, stack: Any, expected: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    zarr.create_array("in.zarr", data=stack[:2], chunks=(1, 32, 36))
    result = denoise_stack("in.zarr", OPTIONS, out="out.ome.zarr", client=client)
    assert not result.failed
    np.testing.assert_array_equal(result.image[:], expected[:2])


def test_a_store_that_workers_cannot_reach_is_refused_before_any_plane(
    client: Any, stack: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = PlaneLayout.of((2, 8, 8), None)
    writer = ZarrWriter(str(tmp_path / "elsewhere"), layout, (0, 1, 2), None)
    prepared = ZarrSink.__init__

    def unshared(self: Any, *args: Any) -> None:
        prepared(self, *args)
        self.writer = writer

    monkeypatch.setattr(ZarrSink, "__init__", unshared)
    with pytest.raises(OSError, match=r"out: a worker cannot write to .*elsewhere.*share"):
        denoise_stack(stack, OPTIONS, out=tmp_path / "o.zarr", client=client)


@pytest.mark.parametrize("lazily", [lambda array: array, da.from_zarr])
def test_a_stack_that_workers_read_otherwise_is_refused_before_any_plane(
    client: Any,
    stack: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    lazily: Any,
) -> None:
    monkeypatch.chdir(tmp_path)
    padded = np.concatenate([np.zeros_like(stack[:1]), stack[:2]])
    zarr.create_array("in.zarr", data=padded, chunks=(1, 32, 36))
    source = lazily(zarr.open_array("in.zarr", mode="r"))
    with pytest.raises(OSError, match=r"stack: a worker does not read plane 1 .*share"):
        denoise_stack(source, OPTIONS, client=client)


def test_a_zarr_of_a_relative_path_is_read_by_workers_in_another_folder(
    client: Any, stack: Any, expected: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    zarr.create_array("in.zarr", data=stack[:2], chunks=(1, 32, 36))
    with io.open_image(Path("in.zarr")) as source:
        result = denoise_stack(source.data, OPTIONS, client=client)
    np.testing.assert_array_equal(result.image, expected[:2])


class Missing(Within):
    """A stack of which planes cannot be read anywhere."""

    def __getitem__(self, key: Any) -> Any:
        if key[0] != 6:
            raise OSError("bad sector")
        return np.zeros((32, 36), self.dtype)


def test_planes_that_nobody_can_read_do_not_stop_the_others() -> None:
    with started(1, processes=False) as client:
        result = denoise_stack(Missing(), OPTIONS, client=client)
    assert sorted(result.failed) == [0, 1, 2, 3, 4, 5, 7]


def test_a_plane_that_the_caller_cannot_read_is_told_as_without_workers() -> None:
    stack = Missing()
    stack.lock = threading.Lock()  # So that it cannot be sent, and the caller reads it.
    with started(1, processes=False) as client:
        result = denoise_stack(stack, OPTIONS, client=client)
    assert result.failed == denoise_stack(stack, OPTIONS).failed


def test_killed_worker_loses_only_its_plane(
    client: Any, stack: Any, expected: Any, tmp_path: Path
) -> None:
    killed: list[Progress] = []

    def kill_once(progress: Progress) -> None:
        if not killed:
            kill_one(client)
            killed.append(progress)

    client.wait_for_workers(2)
    source = zarr.create_array(str(tmp_path / "in.zarr"), data=stack, chunks=(1, 32, 36))
    result = denoise_stack(
        source,
        OPTIONS,
        out=tmp_path / "out.ome.zarr",
        client=client,
        on_progress=kill_once,
    )
    assert killed
    assert not result.failed
    np.testing.assert_array_equal(result.image[:], expected)


def test_a_run_outlives_all_its_workers(stack: Any, expected: Any, tmp_path: Path) -> None:
    seen: list[Progress] = []
    with started(1) as client:

        def kill_first(progress: Progress) -> None:
            seen.append(progress)
            if len(seen) == 1:
                kill_one(client)

        result = denoise_stack(
            stack,
            OPTIONS,
            out=tmp_path / "out.ome.zarr",
            client=client,
            on_progress=kill_first,
        )
    assert not result.failed
    np.testing.assert_array_equal(result.image[:], expected)


def test_a_run_that_has_lost_its_workers_can_be_stopped(stack: Any) -> None:
    with started(1, processes=False) as client:
        result = denoise_stack(
            stack,
            OPTIONS,
            client=client,
            on_progress=lambda progress: client.cluster.scale(0),
            should_stop=lambda: not client.nthreads(),
        )
    assert result.status is Status.CANCELLED
    assert result.pending


def test_a_result_that_died_with_its_worker_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cluster, "_TRANSFER", 0.1)
    with started(1) as client:
        crew = cluster._Crew(client)
        future = crew.submit(os.getpid)
        while not future.done():
            crew.wait()
        os.kill(future.result(), signal.SIGKILL)
        while cluster._result(future) is not None:
            time.sleep(0.01)
        while cluster._result(future) is None:
            crew.wait()


def test_waiting_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    async def coroutines() -> int:
        return len(asyncio.all_tasks())

    monkeypatch.setattr(cluster, "_PATIENCE", 0.01)
    with started(0, processes=False) as client:
        crew = cluster._Crew(client)
        futures = [crew.submit(os.getpid) for _ in range(20)]
        before = client.sync(coroutines)
        for _ in range(20):
            crew.wait()
        assert client.sync(coroutines) < before + 20
        client.cancel(futures)


def test_a_cluster_without_workers_is_told(
    stack: Any, expected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "_LONELY", 0.0)
    with started(0, processes=False) as client:
        hired = threading.Timer(2, client.cluster.scale, [1])
        hired.start()
        with pytest.warns(UserWarning, match="no worker for 0 s"):
            result = denoise_stack(stack, OPTIONS, planes=[3], client=client)
        hired.join()
    np.testing.assert_array_equal(result.image[0], expected[3])


def test_a_scheduler_that_does_not_wait_for_workers_is_told(stack: Any) -> None:
    with (
        dask.config.set({"distributed.scheduler.no-workers-timeout": "100ms"}),
        started(0, processes=False) as lonely,
        pytest.raises(RuntimeError, match=r"client: no worker .*no-workers-timeout"),
    ):
        denoise_stack(stack, OPTIONS, client=lonely)


def test_planes_that_no_worker_took_in_time_are_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class UnattendedError(Exception):
        pass

    def refused(future: Any) -> Any:
        raise UnattendedError("1 s")

    monkeypatch.setattr(cluster, "_NO_WORKER", (UnattendedError,))
    monkeypatch.setattr(cluster, "_result", refused)
    outcomes = cluster._outcomes(None, [3, 4])
    assert len(outcomes) == 2
    assert all("no-workers-timeout: 1 s" in outcome.failure for outcome in outcomes)
    assert all(outcome.missing for outcome in outcomes)


def test_the_client_need_not_be_the_default_one(
    client: Any, stack: Any, expected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(client: Any = None) -> Any:
        raise ValueError("No clients found")

    monkeypatch.setattr("distributed.client.default_client", none)
    result = denoise_stack(stack, OPTIONS, planes=[5, 6], client=client)
    np.testing.assert_array_equal(result.image, expected[[5, 6]])


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
