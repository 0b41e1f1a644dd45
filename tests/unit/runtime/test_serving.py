"""Images that are served while they are being built, and images that exist."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import nixdock
from nixdock import Compression, Serving
from nixdock.errors import InputError
from nixdock.oci.digests import sha256_digest

from ..registry.fake_registry import fake_registry

SampleSpec = Callable[..., Path]


def fetch(server: Serving, path: str, **headers: str) -> bytes:
    request = urllib.request.Request(f"http://{server.address}/v2/{path}", headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        data: bytes = answer.read()
        return data


def manifest(server: Serving, name: str = "x/y", tag: str = "v1") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(fetch(server, f"{name}/manifests/{tag}"))
    return found


def layers(server: Serving) -> list[str]:
    return [layer["digest"] for layer in manifest(server)["layers"]]


def libc(directory: Path) -> Path:
    return directory / "root/nix/store" / ("a" * 32 + "-libc") / "lib/libc.so.6"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("compression", "use_cache"),
    [*((compression, True) for compression in Compression), (Compression.GZIP, False)],
)
def test_digests_are_those_of_a_build(
    sample_spec: SampleSpec,
    tmp_path: Path,
    scratch: Path,
    compression: Compression,
    use_cache: bool,
) -> None:
    spec = nixdock.read_spec(sample_spec(tmp_path))
    built = nixdock.build_image(
        spec, tmp_path / "built", form="oci-layout", compression=compression
    )
    for _ in range(2):
        with nixdock.serve_images([spec], compression=compression, use_cache=use_cache) as server:
            assert server.references == (f"{server.address}/x/y:v1",)
            assert server.address.startswith("127.0.0.1:")
            data = fetch(server, "x/y/manifests/v1")
            assert data == built.manifest.data
            for digest in (*(layer.digest for layer in built.layers), built.config.digest):
                assert sha256_digest(fetch(server, f"x/y/blobs/{digest}")) == digest
            first = built.layers[0].digest
            assert (
                fetch(server, f"x/y/blobs/{first}", Range="bytes=3-5")
                == ((tmp_path / "built/blobs/sha256" / first[7:]).read_bytes()[3:6])
            )
        assert [*scratch.iterdir()] == []


def test_layers_that_are_known_are_read_only_if_they_are_asked_for(
    sample_spec: SampleSpec, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spec = nixdock.read_spec(sample_spec(tmp_path))
    with nixdock.serve_images([spec]) as server:
        expected = manifest(server)
    libc(tmp_path).unlink()
    with nixdock.serve_images([spec]) as server:
        assert manifest(server) == expected
        answers = {}
        for digest in layers(server):
            try:
                answers[digest] = sha256_digest(fetch(server, f"x/y/blobs/{digest}")) == digest
            except urllib.error.HTTPError as error:
                answers[digest] = error.code != 403
        assert list(answers.values()) == [False, True, True, True, True]
    assert "1 store path: libc is not" in caplog.text


def test_a_store_that_is_not_what_the_cache_says(
    sample_spec: SampleSpec, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spec = nixdock.read_spec(sample_spec(tmp_path))
    with nixdock.serve_images([spec]):
        pass
    libc(tmp_path).chmod(0o644)
    libc(tmp_path).write_bytes(b"other")
    libc(tmp_path).chmod(0o444)
    with nixdock.serve_images([spec]) as server:
        with pytest.raises(urllib.error.HTTPError) as caught:
            fetch(server, f"x/y/blobs/{layers(server)[0]}")
        assert caught.value.code == 403
        caught.value.close()
    assert "as the cache said, but" in caplog.text
    for use_cache in (True, False):
        with nixdock.serve_images([spec], use_cache=use_cache) as server:
            assert fetch(server, f"x/y/blobs/{layers(server)[0]}")


@pytest.mark.parametrize("form", ["archive", "oci-archive", "oci-layout", "docker-archive"])
def test_images_in_files(sample_spec: SampleSpec, tmp_path: Path, scratch: Path, form: str) -> None:
    file = tmp_path / "image"
    built = nixdock.build_image(nixdock.read_spec(sample_spec(tmp_path)), file, form=form)
    with nixdock.serve_images([file]) as server:
        found = manifest(server)
        assert found["config"]["digest"] == built.config.digest
        for each in (found["config"], *found["layers"]):
            data = fetch(server, f"x/y/blobs/{each['digest']}")
            assert (sha256_digest(data), len(data)) == (each["digest"], each["size"])
        if form != "docker-archive":
            assert sha256_digest(fetch(server, "x/y/manifests/v1")) == built.manifest.digest
    assert [*scratch.iterdir()] == []


def test_an_image_in_a_registry(sample_spec: SampleSpec, tmp_path: Path, scratch: Path) -> None:
    with fake_registry() as fake:
        name = f"{fake.host}/own/name:v3"
        pushed = nixdock.push_image(nixdock.read_spec(sample_spec(tmp_path)), [name])
        with nixdock.serve_images([f"docker://{name}"]) as server:
            assert server.references == (f"{server.address}/own/name:v3",)
            before = len(fake.log)
            for _ in range(2):
                digest = manifest(server, "own/name", "v3")["layers"][0]["digest"]
                assert sha256_digest(fetch(server, f"own/name/blobs/{digest}")) == digest
            assert len(fake.log) == before + 1
        by_digest = f"docker://{fake.host}/own/name@{pushed.digest}"
        with nixdock.serve_images([by_digest]) as server:
            assert server.references == (f"{server.address}/own/name@{pushed.digest}",)
    assert [*scratch.iterdir()] == []


def test_several_images(sample_spec: SampleSpec, tmp_path: Path) -> None:
    one = nixdock.read_spec(sample_spec(tmp_path))
    two = nixdock.read_spec(sample_spec(tmp_path, tag="v2", extra_commands="echo > two"))
    with nixdock.serve_images([one, two]) as server:
        assert json.loads(fetch(server, "x/y/tags/list"))["tags"] == ["v1", "v2"]
    same = nixdock.read_spec(sample_spec(tmp_path, extra_commands="echo > three"))
    with pytest.raises(InputError, match="two images"), nixdock.serve_images([one, same]):
        pass
    with pytest.raises(InputError, match="no image to serve"), nixdock.serve_images([]):
        pass


def test_a_server_for_everybody_says_so(
    sample_spec: SampleSpec, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spec = nixdock.read_spec(sample_spec(tmp_path))
    with nixdock.serve_images([spec], listen="0.0.0.0:0"):
        assert "whoever can reach 0.0.0.0:0 can read these images" in caplog.text


def test_waiting(sample_spec: SampleSpec, tmp_path: Path) -> None:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    with nixdock.serve_images([nixdock.read_spec(sample_spec(tmp_path))]) as server:
        server.wait(seconds=5, sleep=sleep, clock=lambda: now[0])
        assert 5 <= now[0] < 5.5
        server.tally._clock = lambda: now[0]
        fetch(server, "")
        server.wait(idle=3, sleep=sleep, clock=lambda: now[0])
        assert 8 <= now[0] < 8.7
