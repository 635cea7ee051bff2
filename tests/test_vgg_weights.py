"""Where the weights of VGG-16 come from, and what is said where there are none."""

from __future__ import annotations

import errno
import hashlib
import io
import socket
import sys
import threading
import urllib.error
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from tests.vgg import caffe_arrays, drawn, state_dict, written_npz
from torchvision.models.vgg import make_layers

from napari_msdip import vgg_weights
from napari_msdip.features import Vgg16Features
from napari_msdip.vgg_weights import WeightsNotFoundError, cache_directory, load_vgg16

if TYPE_CHECKING:
    from collections.abc import Iterator


DOWNLOAD = torch.hub.download_url_to_file
HUB_NAME = "vgg16-397923af.pth"


def bias_of(seed: int) -> Any:
    return caffe_arrays(seed)["conv1_1.bias"]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the checkpoint folder of a machine without weights and without network."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("torch.hub._hub_dir", None)

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setattr("torch.hub.download_url_to_file", refuse)
    checkpoints = tmp_path / "torch" / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    return checkpoints


@contextmanager
def served(monkeypatch: pytest.MonkeyPatch, how: str = "whole") -> Iterator[list[str]]:
    """Let this machine serve the weights in torchvision's place; yields what is asked.

    Whole, or in one of the ways in which a server, or what lies before it, fails.
    """
    stored = io.BytesIO()
    torch.save(state_dict(6), stored)
    content = stored.getvalue()
    digest = "0" * 64 if how == "other" else hashlib.sha256(content).hexdigest()
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked.append(self.path)
            self.close_connection = True
            if how == "missing":
                self.send_error(404)
            elif how == "no HTTP":
                self.wfile.write(b"Dear reader\r\n\r\n")
            elif how == "cut off in a chunk":
                self.send_response(200)
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                self.wfile.write(b"%x\r\n" % len(content) + content[:1000])
            else:
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(
                    content[:1000] if how in {"cut off", "stalled"} else content
                )
            if how == "stalled":
                # Until the other side has had enough.
                self.connection.settimeout(None)
                self.connection.recv(1)

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        url = f"http://127.0.0.1:{server.server_port}/vgg16-{digest[:8]}.pth"
        monkeypatch.setattr(vgg_weights, "_torchvision_url", lambda: url)
        monkeypatch.setattr("torch.hub.download_url_to_file", DOWNLOAD)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        try:
            yield asked
        finally:
            server.shutdown()
            serving.join()


def test_the_address_of_the_weights_is_torchvisions() -> None:
    from torchvision.models import VGG16_Weights

    assert vgg_weights._torchvision_url() == VGG16_Weights.IMAGENET1K_V1.url


def test_given_file_comes_first(machine: Path, tmp_path: Path) -> None:
    torch.save(state_dict(2), machine / HUB_NAME)
    load_vgg16()

    weights = load_vgg16(written_npz(tmp_path, 1))

    np.testing.assert_array_equal(weights["conv1_1.bias"], bias_of(1))


def test_hub_cache_comes_before_a_download(machine: Path) -> None:
    torch.save(state_dict(2), machine / HUB_NAME)

    weights = load_vgg16(fetch=lambda target: pytest.fail("downloaded for nothing"))

    np.testing.assert_array_equal(weights["conv1_1.bias"], bias_of(2))


def test_hub_directory_may_have_been_moved(
    machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = tmp_path / "elsewhere"
    (moved / "checkpoints").mkdir(parents=True)
    torch.save(state_dict(4), moved / "checkpoints" / HUB_NAME)
    monkeypatch.setattr("torch.hub._hub_dir", str(moved))

    weights = load_vgg16(download=False)

    np.testing.assert_array_equal(weights["conv1_1.bias"], bias_of(4))


def test_download_comes_last_and_once(machine: Path) -> None:
    calls = []

    def fetch(target: Path) -> None:
        calls.append(target)
        torch.save(state_dict(3), target)

    for _ in range(2):
        weights = load_vgg16(fetch=fetch)
        np.testing.assert_array_equal(weights["conv1_1.bias"], bias_of(3))
    assert len(calls) == 1
    assert not calls[0].exists()


def test_download_checks_the_hash_and_shows_progress(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def save(
        url: str, target: str, hash_prefix: str | None = None, progress: bool = True
    ) -> None:
        asked.update(url=url, hash_prefix=hash_prefix, progress=progress)
        torch.save(state_dict(5), target)

    monkeypatch.setattr("torch.hub.download_url_to_file", save)

    weights = load_vgg16()

    np.testing.assert_array_equal(weights["conv1_1.bias"], bias_of(5))
    assert asked["url"].endswith(HUB_NAME)
    assert asked["hash_prefix"] == "397923af"
    assert asked.get("progress", True)


def test_download_comes_over_http_and_once(
    machine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with served(monkeypatch) as asked:
        for _ in range(2):
            np.testing.assert_array_equal(load_vgg16()["conv1_1.bias"], bias_of(6))
    assert len(asked) == 1
    assert "100%" in capsys.readouterr().err


def test_download_needs_no_terminal(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As in a program for Windows that has a window only.
    monkeypatch.setattr(sys, "stderr", None)
    with served(monkeypatch):
        np.testing.assert_array_equal(load_vgg16()["conv1_1.bias"], bias_of(6))


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("other", "hash"),
        ("cut off", "hash"),
        ("cut off in a chunk", "IncompleteRead"),
        ("missing", "404"),
        ("no HTTP", "Dear reader"),
    ],
)
def test_download_that_fails_leaves_nothing_and_says_why(
    machine: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
    reason: str,
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    with (
        served(monkeypatch, how) as asked,
        pytest.raises(WeightsNotFoundError, match=reason) as caught,
    ):
        load_vgg16()
    assert len(asked) == 1
    assert "consistency='offline'" in str(caught.value)
    assert not cache_directory().exists()
    assert not list(machine.iterdir())
    assert not list(temporary.iterdir())

    with served(monkeypatch):
        np.testing.assert_array_equal(load_vgg16()["conv1_1.bias"], bias_of(6))


def test_download_that_stalls_is_given_up(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vgg_weights, "_SILENCE", 1.0)
    with (
        served(monkeypatch, "stalled"),
        pytest.raises(WeightsNotFoundError, match="timed out"),
    ):
        load_vgg16()
    assert socket.getdefaulttimeout() is None


def test_download_is_used_where_it_cannot_be_kept(
    machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(in_the_way))
    with (
        served(monkeypatch),
        pytest.warns(UserWarning, match=r"could not be kept in .*file"),
    ):
        np.testing.assert_array_equal(load_vgg16()["conv1_1.bias"], bias_of(6))


def test_cache_that_cannot_be_looked_into_does_not_stop_anybody(
    machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / ("x" * 300)))
    torch.save(state_dict(2), machine / HUB_NAME)

    with pytest.warns(UserWarning, match="could not be kept"):
        weights = load_vgg16()

    np.testing.assert_array_equal(weights["conv1_1.bias"], bias_of(2))


def test_download_without_room_for_it_says_so(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any, **kwargs: Any) -> None:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory")

    monkeypatch.setattr("tempfile.TemporaryDirectory", full)
    with pytest.raises(WeightsNotFoundError, match="No usable temporary directory"):
        load_vgg16()


def test_cache_is_trimmed_whole_and_read_again(machine: Path) -> None:
    source = machine / HUB_NAME
    torch.save(state_dict(2), source)
    first = load_vgg16()
    size = source.stat().st_size
    source.unlink()

    again = load_vgg16(download=False)

    (cached,) = cache_directory().iterdir()
    assert cached.stat().st_size < 8 * 2**20 < size
    image = drawn(1, 3, 16, 16)
    assert torch.equal(Vgg16Features(first)(image), Vgg16Features(again)(image))


def test_cache_is_never_half_written(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(state_dict(2), machine / HUB_NAME)
    real = np.savez

    def interrupted(target: Any, *args: Any, **kwargs: Any) -> None:
        real(target, *args, **kwargs)
        path = Path(target)
        path.write_bytes(path.read_bytes()[:1000])
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load_vgg16()
    monkeypatch.setattr(np, "savez", real)

    np.testing.assert_array_equal(load_vgg16()["conv1_1.bias"], bias_of(2))


def test_cache_that_cannot_be_written_does_not_stop_anybody(
    machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(in_the_way))
    torch.save(state_dict(2), machine / HUB_NAME)

    with pytest.warns(UserWarning, match="could not be kept"):
        weights = load_vgg16()

    np.testing.assert_array_equal(weights["conv1_1.bias"], bias_of(2))


def refused(target: Path) -> None:
    raise urllib.error.URLError("no network")


def corrupted(target: Path) -> None:
    raise RuntimeError('invalid hash value (expected "397923af", got "0")')


@pytest.mark.parametrize(
    "how",
    [{"download": False}, {}, {"fetch": refused}, {"fetch": corrupted}],
    ids=["not wanted", "no network", "refused", "corrupted"],
)
def test_without_weights_the_error_says_what_to_do(
    machine: Path, how: dict[str, Any]
) -> None:
    with pytest.raises(WeightsNotFoundError) as caught:
        load_vgg16(**how)

    message = str(caught.value)
    assert "consistency='offline'" in message
    assert HUB_NAME in message
    assert str(machine) in message
    assert "vgg_weights" in message
    assert not cache_directory().exists()


def test_missing_file_is_named(machine: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsNotFoundError, match=r"vgg_weights=.*nowhere\.npz"):
        load_vgg16(tmp_path / "nowhere.npz")


@pytest.mark.parametrize("name", ["other.npz", "text.npz", "other.pth", "text.pth"])
def test_file_of_something_else_is_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "other.npz":
        np.savez(path, ears=np.zeros(3))
    elif name == "other.pth":
        torch.save({"ears": torch.zeros(3)}, path)
    else:
        path.write_text("Dear reader")
    with pytest.raises(ValueError, match=rf"^vgg_weights=.*{name}"):
        load_vgg16(path)


@pytest.mark.parametrize("name", ["wrong.npz", "wrong.pth"])
@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (
            np.zeros((64, 3, 5, 5), np.float32),
            r"shape \(64, 3, 5, 5\), not \(64, 3, 3, 3\)",
        ),
        (np.zeros((64, 1, 3, 3), np.float32), r"shape \(64, 1, 3, 3\)"),
        (np.full((64, 3, 3, 3), np.nan, np.float32), "NaN or infinity"),
        ("Dear reader", "it cannot be read|has shape"),
        (None, "it cannot be read"),
    ],
    ids=["kernel", "channels", "NaN", "text", "nothing"],
)
def test_what_is_wrong_with_weights_is_said(
    tmp_path: Path, name: str, value: Any, reason: str
) -> None:
    path = tmp_path / name
    if name.endswith("npz"):
        np.savez(path, **(caffe_arrays(0) | {"conv1_1.weight": np.asarray(value)}))
    else:
        tensor = torch.from_numpy(value) if isinstance(value, np.ndarray) else value
        torch.save(state_dict(0) | {"features.0.weight": tensor}, path)
    with pytest.raises(ValueError, match=rf"^vgg_weights=.*{name}.*({reason})"):
        load_vgg16(path)


def test_weights_of_vgg19_are_told_from_those_of_vgg16(tmp_path: Path) -> None:
    stack = make_layers([64, 64, "M", 128, 128, "M", 256, 256, 256, 256])
    state = {f"features.{name}": value for name, value in stack.state_dict().items()}
    torch.save(state, tmp_path / "weights.pth")
    np.savez(
        tmp_path / "weights.npz",
        **(caffe_arrays(0) | {"conv3_4.weight": np.zeros((256, 256, 3, 3), np.float32)}),
    )
    for path in tmp_path.iterdir():
        with pytest.raises(ValueError, match=rf"^vgg_weights=.*{path.name}.*VGG-19"):
            load_vgg16(path)


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_weights_of_another_precision_will_do(tmp_path: Path, dtype: str) -> None:
    arrays = {key: value.astype(dtype) for key, value in caffe_arrays(0).items()}
    np.savez(tmp_path / "weights.npz", **arrays)
    state = {k: v.to(getattr(torch, dtype)) for k, v in state_dict(0).items()}
    torch.save(state, tmp_path / "weights.pth")
    for path in tmp_path.iterdir():
        weights = load_vgg16(path)
        assert weights["conv1_1.bias"].dtype == np.float32
        Vgg16Features(weights)(drawn(1, 3, 8, 8))


def break_cache(content: bytes = b"PK Dear reader") -> Path:
    path = cache_directory() / "vgg16_conv1_1_to_conv3_3.npz"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


def test_a_broken_cache_is_made_anew(machine: Path) -> None:
    cached = break_cache()
    assert vgg_weights.weights_info() == f"unreadable: {cached}"
    torch.save(state_dict(2), machine / HUB_NAME)
    assert vgg_weights.weights_info() == (
        f"found: {machine / HUB_NAME}; unreadable: {cached}"
    )

    np.testing.assert_array_equal(load_vgg16()["conv1_1.bias"], bias_of(2))

    assert vgg_weights.weights_info() == f"found: {cached}"
    (machine / HUB_NAME).unlink()
    np.testing.assert_array_equal(load_vgg16()["conv1_1.bias"], bias_of(2))


def test_a_broken_cache_is_none(machine: Path) -> None:
    break_cache(b"")
    with pytest.raises(WeightsNotFoundError, match="no VGG-16 weights"):
        load_vgg16(download=False)


def test_broken_weights_of_torch_are_not_blamed_on_an_argument(machine: Path) -> None:
    (machine / HUB_NAME).write_text("Dear reader")
    with pytest.raises(ValueError, match=rf"^'.*{HUB_NAME}' holds no .* or delete it"):
        load_vgg16()
    assert vgg_weights.weights_info() == f"unreadable: {machine / HUB_NAME}"


def test_without_weights_that_is_said(machine: Path) -> None:
    assert vgg_weights.weights_info().startswith("none")
