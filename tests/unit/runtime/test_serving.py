"""Images that are served while they are being built, and images that exist."""

from __future__ import annotations

import json
import os
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bcrypt
import pytest

import nixdock
from nixdock import Access, Compression, Credentials, Listening, Serving
from nixdock.errors import InputError, RegistryError
from nixdock.layers.compression import COMPRESSIONS
from nixdock.oci.digests import sha256_digest

from ..registry.fake_registry import fake_registry
from ..several_platforms import with_platforms

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
    [*((compression, True) for compression in COMPRESSIONS), (Compression.GZIP, False)],
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
    with nixdock.serve_images([spec]) as server:
        server.settle()
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
    two = nixdock.read_spec(sample_spec(tmp_path, tag="v2", config={"Cmd": ["two"]}))
    with nixdock.serve_images([one, two]) as server:
        assert json.loads(fetch(server, "x/y/tags/list"))["tags"] == ["v1", "v2"]
    same = nixdock.read_spec(sample_spec(tmp_path, config={"Cmd": ["three"]}))
    with (
        pytest.raises(InputError, match="two images"),
        nixdock.serve_images([one, same]) as server,
    ):
        server.settle()
    with pytest.raises(InputError, match="no image to serve"), nixdock.serve_images([]):
        pass


def test_all_images_of_a_layout(sample_spec: SampleSpec, tmp_path: Path, scratch: Path) -> None:
    layout = tmp_path / "layout"
    built = []
    for tag in ("v1", "v2"):
        spec = nixdock.read_spec(sample_spec(tmp_path, tag=tag, config={"Cmd": [tag]}))
        archive = tmp_path / f"{tag}.tar"
        built.append(nixdock.build_image(spec, archive))
        nixdock.copy_image(str(archive), f"oci:{layout}:x/y:{tag}")
    subject = built[0].manifest
    about = {"mediaType": subject.media_type, "digest": subject.digest, "size": len(subject.data)}
    signature = added(layout, referring(layout, about, "a/signature"))
    countersigned = added(layout, referring(layout, signature, "a/time"))
    added(layout, referring(layout, {**about, "digest": f"sha256:{'0' * 64}"}, "a/stray"))

    with nixdock.serve_images([layout]) as server:
        assert json.loads(fetch(server, "x/y/tags/list"))["tags"] == ["v1", "v2"]
        for tag, image in zip(("v1", "v2"), built, strict=True):
            assert fetch(server, f"x/y/manifests/{tag}") == image.manifest.data
        found = json.loads(fetch(server, f"x/y/referrers/{subject.digest}"))
        assert [each["artifactType"] for each in found["manifests"]] == ["a/signature"]
        found = json.loads(fetch(server, f"x/y/referrers/{signature['digest']}"))
        assert [each["digest"] for each in found["manifests"]] == [countersigned["digest"]]
        assert fetch(server, f"x/y/blobs/{EMPTY['digest']}") == b"{}"
    with nixdock.serve_images([f"oci:{layout}:v2"]) as server:
        assert json.loads(fetch(server, "x/y/tags/list"))["tags"] == ["v2"]
    with nixdock.serve_images([f"oci:{layout}:v1"]) as server:
        found = json.loads(fetch(server, f"x/y/referrers/{subject.digest}"))
        assert [each["artifactType"] for each in found["manifests"]] == ["a/signature"]
    assert [*scratch.iterdir()] == []


def test_tags_that_no_client_can_ask_for(sample_spec: SampleSpec, tmp_path: Path) -> None:
    """Layouts may have any text."""
    layout = tmp_path / "layout"
    built = nixdock.build_image(nixdock.read_spec(sample_spec(tmp_path)), layout, form="oci-layout")
    index = json.loads((layout / "index.json").read_bytes())
    (entry,) = index["manifests"]
    names = ["v1", "v1+build", "two\nlines", "z"]
    index["manifests"] = [
        {**entry, "annotations": {"org.opencontainers.image.ref.name": name}} for name in names
    ]
    (layout / "index.json").write_text(json.dumps(index))
    digest = built.manifest.digest
    with nixdock.serve_images([layout]) as server:
        places = ("image:v1", f"image@{digest}", "image:z")
        assert server.references == tuple(f"{server.address}/{place}" for place in places)
        assert json.loads(fetch(server, "image/tags/list?n=9"))["tags"] == ["v1", "z"]
        assert json.loads(fetch(server, "image/tags/list?n=1"))["tags"] == ["v1"]
        assert fetch(server, f"image/manifests/{digest}") == built.manifest.data


EMPTY = {
    "mediaType": "application/vnd.oci.empty.v1+json",
    "digest": sha256_digest(b"{}"),
    "size": 2,
}


def referring(layout: Path, subject: object, kind: str) -> bytes:
    (layout / "blobs/sha256" / sha256_digest(b"{}")[7:]).write_bytes(b"{}")
    document = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": kind,
        "config": EMPTY,
        "layers": [EMPTY],
        "subject": subject,
    }
    return json.dumps(document).encode()


def added(layout: Path, manifest: bytes) -> dict[str, Any]:
    """Add a manifest without a name to a layout; return its descriptor."""
    digest = sha256_digest(manifest)
    descriptor: dict[str, Any] = {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": digest,
        "size": len(manifest),
    }
    (layout / "blobs/sha256" / digest[7:]).write_bytes(manifest)
    index = json.loads((layout / "index.json").read_bytes())
    index["manifests"].append(descriptor)
    (layout / "index.json").write_text(json.dumps(index))
    return descriptor


def for_two_platforms(sample_spec: SampleSpec, directory: Path) -> list[Path]:
    """Build an image for amd64 and one for arm64; return their layouts."""
    images = []
    for architecture in ("amd64", "arm64"):
        spec = nixdock.read_spec(sample_spec(directory, architecture=architecture))
        images.append(directory / architecture)
        nixdock.build_image(spec, images[-1], form="oci-layout")
    return images


def test_an_index_is_served_as_it_is(
    sample_spec: SampleSpec, tmp_path: Path, scratch: Path
) -> None:
    """So that its digest holds for clients of every platform."""
    images = for_two_platforms(sample_spec, tmp_path)
    layout, digests = with_platforms(images, tmp_path / "layout")
    index = json.loads((layout / "index.json").read_bytes())["manifests"][0]
    with nixdock.serve_images([layout]) as server:
        assert sha256_digest(fetch(server, "image/manifests/latest")) == index["digest"]
        for digest in digests:
            assert sha256_digest(fetch(server, f"image/manifests/{digest}")) == digest
    with fake_registry() as fake:
        place = f"docker://{fake.host}/own/many:v1"
        nixdock.copy_image(str(layout), place, all_platforms=True)
        with nixdock.serve_images([place]) as server:
            assert sha256_digest(fetch(server, "own/many/manifests/v1")) == index["digest"]
            found = json.loads(fetch(server, f"own/many/manifests/{digests[1]}"))
            layer = found["layers"][0]["digest"]
            assert sha256_digest(fetch(server, f"own/many/blobs/{layer}")) == layer
    # What was copied for one platform lacks the others.
    (layout / "blobs/sha256" / digests[1][7:]).unlink()
    with nixdock.serve_images([layout]) as server:
        assert sha256_digest(fetch(server, "image/manifests/latest")) == digests[0]
    assert [*scratch.iterdir()] == []


def test_images_that_indexes_share(sample_spec: SampleSpec, tmp_path: Path) -> None:
    """As in a layout with two releases, of which one changes the image for a single platform."""
    images = for_two_platforms(sample_spec, tmp_path)
    layout, digests = with_platforms(images, tmp_path / "layout")
    (both,) = json.loads((layout / "index.json").read_bytes())["manifests"]
    own = json.loads((images[1] / "index.json").read_bytes())["manifests"][0]
    inner = {"schemaVersion": 2, "manifests": [{**own, "annotations": {}}]}
    one = {**added(layout, json.dumps(inner).encode()), "mediaType": both["mediaType"]}
    entries = {"both": both, "one": one, "arm64": own, "same": own}
    index = {
        "schemaVersion": 2,
        "manifests": [
            {**entry, "annotations": {"org.opencontainers.image.ref.name": name}}
            for name, entry in entries.items()
        ],
    }
    (layout / "index.json").write_text(json.dumps(index))
    with nixdock.serve_images([layout]) as server:
        assert server.references == tuple(f"{server.address}/image:{name}" for name in entries)
        for name, entry in entries.items():
            assert sha256_digest(fetch(server, f"image/manifests/{name}")) == entry["digest"]
        assert entries["arm64"]["digest"] == digests[1]
    for name in ("both", "one"):
        place = f"oci:{layout}:{name}"
        with nixdock.serve_images([place]) as server:
            assert server.references == (f"{server.address}/image:{name}",)
            found = sha256_digest(fetch(server, f"image/manifests/{name}"))
        copy = tmp_path / name
        nixdock.copy_image(place, f"oci:{copy}:{name}", all_platforms=True)
        (copied,) = json.loads((copy / "index.json").read_bytes())["manifests"]
        assert found == copied["digest"] == entries[name]["digest"]
    # What was copied for one platform lacks the others.
    (layout / "blobs/sha256" / digests[0][7:]).unlink()
    with nixdock.serve_images([f"oci:{layout}:both"]) as server:
        assert sha256_digest(fetch(server, "image/manifests/both")) == digests[1]


def test_a_directory_of_images(sample_spec: SampleSpec, tmp_path: Path, scratch: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for tag, form in (("v1", "archive"), ("v2", "oci-layout"), ("v3", "docker-archive")):
        spec = nixdock.read_spec(sample_spec(tmp_path, tag=tag))
        nixdock.build_image(spec, folder / f"{tag}-image", form=form)
    (folder / ".unfinished").write_text("nothing")
    with nixdock.serve_images([folder]) as server:
        assert server.references == tuple(f"{server.address}/x/y:v{n}" for n in (1, 2, 3))
        for tag in ("v1", "v2", "v3"):
            config = manifest(server, tag=tag)["config"]["digest"]
            assert sha256_digest(fetch(server, f"x/y/blobs/{config}")) == config
    assert [*scratch.iterdir()] == []
    (tmp_path / "empty").mkdir()
    for wrong, message in ((tmp_path / "empty", "has no images"), (tmp_path / "none", "none")):
        with pytest.raises(InputError, match=message), nixdock.serve_images([wrong]):
            pass
    (folder / "note.txt").write_text("no image")
    with pytest.raises(InputError, match=r"note\.txt"), nixdock.serve_images([folder]):
        pass
    # To open it would wait for a writer.
    os.mkfifo(folder / "fifo")
    with pytest.raises(InputError, match=r"images/fifo is a FIFO"), nixdock.serve_images([folder]):
        pass


def test_a_unix_socket_has_references_without_a_host(
    sample_spec: SampleSpec, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spec = nixdock.read_spec(sample_spec(tmp_path))
    with nixdock.serve_images([spec], listen=f"unix:{tmp_path}/socket") as server:
        assert (server.address, server.references) == (f"unix:{tmp_path}/socket", ("x/y:v1",))
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(f"{tmp_path}/socket")
            # As a server in front passes it on.
            client.sendall(b"GET /v2/ HTTP/1.0\r\nHost: registry.example\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.0 200 OK")
    assert caplog.text == ""


def test_users(sample_spec: SampleSpec, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spec = nixdock.read_spec(sample_spec(tmp_path))
    users = tmp_path / "htpasswd"
    users.write_bytes(b"ann:" + bcrypt.hashpw(b"secret", bcrypt.gensalt(4)))
    with nixdock.serve_images([spec], listen=Listening("0.0.0.0:0", htpasswd=users)) as server:
        reference = server.references[0].replace("0.0.0.0", "127.0.0.1")
        for password, allowed in (("secret", True), ("wrong", False)):
            credentials = Credentials("ann", password)
            access = Access(find=lambda *_, found=credentials: found)
            if allowed:
                nixdock.pull_image(reference, tmp_path / "pulled", access=access)
                continue
            with pytest.raises(RegistryError, match="credentials"):
                nixdock.pull_image(reference, tmp_path / "refused", access=access)
    assert "whoever is on the way to 0.0.0.0:0 can read the passwords" in caplog.text
    assert "can read these images" not in caplog.text


def test_a_server_for_everybody_says_so(
    sample_spec: SampleSpec, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spec = nixdock.read_spec(sample_spec(tmp_path))
    with nixdock.serve_images([spec], listen="0.0.0.0:0"):
        assert "whoever can reach 0.0.0.0:0 can read these images" in caplog.text


def test_waiting(sample_spec: SampleSpec, tmp_path: Path) -> None:
    now = [0.0]

    def sleep(seconds: float) -> None:
        # The clock stands still while the server works.
        if server.tally.is_busy:
            time.sleep(0.001)
        else:
            now[0] += seconds

    with nixdock.serve_images([nixdock.read_spec(sample_spec(tmp_path))]) as server:
        server.settle()
        server.wait(seconds=5, sleep=sleep, clock=lambda: now[0])
        assert 5 <= now[0] < 5.5
        server.tally._clock = lambda: now[0]
        fetch(server, "")
        server.wait(idle=3, sleep=sleep, clock=lambda: now[0])
        assert 8 <= now[0] < 8.7
