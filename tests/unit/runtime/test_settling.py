"""Images that are served before all of their layers are packed."""

from __future__ import annotations

import json
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import nixdock
from nixdock import LayerBlob, Progress, Serving
from nixdock.errors import PackError
from nixdock.layers.pack import pack_all
from nixdock.oci.digests import sha256_digest
from nixdock.runtime import offers
from nixdock.runtime.waiting import MOST_WAITING, Waiting

SampleSpec = Callable[..., Path]


class Gate:
    """Lets each image be packed only when the test says so."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()

    def let_one_pass(self) -> None:
        os.write(self.writer, b"+")

    def pack(self, *arguments: Any, **options: Any) -> list[LayerBlob]:
        os.read(self.reader, 1)
        return pack_all(*arguments, **options)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate()
    # The process that packs is a fork of this one.
    monkeypatch.setattr(offers, "pack_all", gate.pack)
    yield gate
    os.close(gate.reader)
    os.close(gate.writer)


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> threading.Semaphore:
    """Counts the requests that are about to wait."""
    counted, wait = threading.Semaphore(0), Waiting.wait

    def count_and_wait(self: Waiting, settled: Future[Any]) -> None:
        counted.release()
        wait(self, settled)

    monkeypatch.setattr(Waiting, "wait", count_and_wait)
    return counted


def fetch(server: Serving, path: str) -> tuple[int, bytes]:
    url = f"http://{server.address}/v2/{path}"
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers.get("Retry-After", "").encode()


def test_requests_for_an_image_wait_until_it_is_settled(
    sample_spec: SampleSpec,
    tmp_path: Path,
    scratch: Path,
    gate: Gate,
    waiting: threading.Semaphore,
) -> None:
    spec = nixdock.read_spec(sample_spec(tmp_path))
    built = nixdock.build_image(spec, tmp_path / "built", form="oci-layout")
    paths = [
        "x/y/manifests/v1",
        "x/y/tags/list",
        f"x/y/manifests/{built.manifest.digest}",
        f"x/y/blobs/{built.layers[0].digest}",
        f"x/y/referrers/{built.manifest.digest}",
    ]
    with (
        nixdock.serve_images([spec], use_cache=False) as server,
        ThreadPoolExecutor(len(paths)) as pool,
    ):
        assert server.references == (f"{server.address}/x/y:v1",)
        assert fetch(server, "") == (200, b"{}")
        assert json.loads(fetch(server, "_catalog")[1]) == {"repositories": ["x/y"]}
        assert fetch(server, "x/y/blobs/malformed")[0] == 400
        answers = [pool.submit(fetch, server, path) for path in paths]
        for _ in paths:
            assert waiting.acquire(timeout=60)
        server.settle(seconds=0)
        assert not server.settled.done()
        gate.let_one_pass()
        manifest, tags, same, blob, referrers = (answer.result() for answer in answers)
        server.settle()
        assert fetch(server, "x/y/manifests/v2")[0] == 404
    assert manifest == same == (200, built.manifest.data)
    assert json.loads(tags[1])["tags"] == ["v1"]
    assert sha256_digest(blob[1]) == built.layers[0].digest
    assert json.loads(referrers[1])["manifests"] == []
    assert [*scratch.iterdir()] == []


def test_settled_images_are_served_meanwhile(
    sample_spec: SampleSpec, tmp_path: Path, gate: Gate, waiting: threading.Semaphore
) -> None:
    specs = [nixdock.read_spec(sample_spec(tmp_path, tag=tag)) for tag in ("v1", "v2", "v3")]
    layout = tmp_path / "built"
    gate.let_one_pass()
    built = nixdock.build_image(specs[0], layout, form="oci-layout")
    with (
        nixdock.serve_images([specs[1], layout, specs[2]]) as server,
        ThreadPoolExecutor(1) as pool,
    ):
        assert [name[-2:] for name in server.references] == ["v2", "v1", "v3"]
        # In the order of the specs.
        for path in ("manifests/v1", f"blobs/{built.layers[0].digest}"):
            assert fetch(server, f"x/y/{path}")[0] == 200
        assert fetch(server, "x/y/manifests/v2")[0] == 200
        last = pool.submit(fetch, server, "x/y/manifests/v3")
        assert waiting.acquire(timeout=60)
        assert fetch(server, "x/y/manifests/v2")[0] == 200
        assert not server.settled.done()
        gate.let_one_pass()
        assert last.result()[0] == 200


def test_requests_that_wait_leave_threads_for_others(
    sample_spec: SampleSpec, tmp_path: Path, gate: Gate, waiting: threading.Semaphore
) -> None:
    spec = nixdock.read_spec(sample_spec(tmp_path))
    with (
        nixdock.serve_images([spec]) as server,
        ThreadPoolExecutor(MOST_WAITING) as pool,
    ):
        answers = [pool.submit(fetch, server, "x/y/manifests/v1") for _ in range(MOST_WAITING)]
        for _ in answers:
            assert waiting.acquire(timeout=60)
        assert fetch(server, "x/y/manifests/v1") == (503, b"5")
        assert fetch(server, "")[0] == 200
        gate.let_one_pass()
        assert {answer.result()[0] for answer in answers} == {200}


def test_a_failure_ends_whoever_waits(
    sample_spec: SampleSpec,
    tmp_path: Path,
    scratch: Path,
    gate: Gate,
    waiting: threading.Semaphore,
) -> None:
    spec = nixdock.read_spec(sample_spec(tmp_path))
    (tmp_path / "root/nix/store" / ("a" * 32 + "-libc")).rename(tmp_path / "libc")
    with nixdock.serve_images([spec]) as server, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(fetch, server, "x/y/manifests/v1")
        assert waiting.acquire(timeout=60)
        gate.let_one_pass()
        for wait in (server.settle, server.wait):
            with pytest.raises(nixdock.NixdockError, match="libc does not exist"):
                wait()
        assert answer.result()[0] == 403
        assert fetch(server, "x/y/manifests/v1")[0] == 403
        assert fetch(server, "")[0] == 200
    assert [*scratch.iterdir()] == []


def test_a_packing_process_that_is_killed(
    sample_spec: SampleSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(offers, "pack_all", lambda *_, **__: os.kill(os.getpid(), 9))
    spec = nixdock.read_spec(sample_spec(tmp_path))
    with (
        nixdock.serve_images([spec]) as server,
        pytest.raises(PackError, match="was killed"),
    ):
        server.wait()


@pytest.mark.usefixtures("gate")
def test_nobody_waits_for_a_server_that_has_ended(
    sample_spec: SampleSpec, tmp_path: Path, scratch: Path, waiting: threading.Semaphore
) -> None:
    spec = nixdock.read_spec(sample_spec(tmp_path))
    with ThreadPoolExecutor(1) as pool:
        with nixdock.serve_images([spec]) as server:
            answer = pool.submit(fetch, server, "x/y/manifests/v1")
            assert waiting.acquire(timeout=60)
        # The answer, or the end of the connection.
        error = answer.exception()
        assert isinstance(error, OSError) if error else answer.result()[0] == 403
    assert [*scratch.iterdir()] == []


def test_progress_is_that_of_packing(sample_spec: SampleSpec, tmp_path: Path) -> None:
    calls: list[tuple[str, int]] = []

    class Seen(Progress):
        def start(self, weights: Any) -> None:
            calls.append(("start", len(weights)))

        def packed(self, index: int, blob: LayerBlob) -> None:
            assert blob.digest
            calls.append(("packed", index))

        def known(self, index: int, blob: LayerBlob) -> None:
            assert blob.digest
            calls.append(("known", index))

    spec = nixdock.read_spec(sample_spec(tmp_path))
    for kind in ("packed", "known"):
        calls.clear()
        with nixdock.serve_images([spec], progress=Seen()) as server:
            server.settle()
            count = len(json.loads(fetch(server, "x/y/manifests/v1")[1])["layers"])
        assert calls[0] == ("start", count)
        assert sorted(index for _, index in calls[1:]) == [*range(count)]
        assert (kind, 0) in calls
