"""Pulling images from a registry into files and directories."""

from __future__ import annotations

import errno
import fcntl
import gzip
import os
import resource
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

import orjson
import pytest

import nixdock
from nixdock.network.body import Body
from nixdock.registry.access import Access
from nixdock.transfer import staging
from tests.runtime.command import wait_until
from tests.unit.cli.program import PROGRAM, environment

from ..registry.fake_registry import FakeRegistry, Fault, digest_of
from .samples import Platforms, archive_files, layout_blobs, sample, store


def blob_requests(fake: FakeRegistry, method: str = "GET") -> list[str]:
    return [route.rpartition("/")[2] for route in fake.routes(method, "/blobs/")]


@pytest.mark.parametrize("form", ["archive", "oci-archive"])
def test_an_archive_has_the_exact_manifest(
    fake: FakeRegistry, access: Access, tmp_path: Path, form: str
) -> None:
    image = sample("one", "two")
    store(fake, "x/y", image, "v1")
    reference = f"{fake.host}/x/y:v1"
    result = nixdock.pull_image(reference, tmp_path / "out", form=form, access=access, mtime=7)
    assert (result.digest, result.names) == (image.digest, (reference,))
    assert result.digest_reference == f"{fake.host}/x/y@{image.digest}"
    files = archive_files(tmp_path / "out")
    stored = {**image.blobs, image.digest: image.manifest}
    expected = {f"blobs/sha256/{digest[7:]}": data for digest, data in stored.items()}
    assert expected.items() <= files.items()
    (entry,) = orjson.loads(files["index.json"])["manifests"]
    assert entry["digest"] == image.digest
    assert entry["platform"] == {"architecture": "amd64", "os": "linux"}
    assert entry["annotations"] == {
        "io.containerd.image.name": reference,
        "org.opencontainers.image.ref.name": "v1",
    }
    assert ("manifest.json" in files) == (form == "archive")
    if form == "archive":
        (docker,) = orjson.loads(files["manifest.json"])
        assert docker["RepoTags"] == [reference]
        assert docker["Layers"] == [f"blobs/sha256/{digest_of(x)[7:]}" for x in image.layers]
    assert nixdock.verify_image(tmp_path / "out", strict=True).problems == ()


@pytest.mark.parametrize("form", ["archive", "oci-archive", "oci-layout"])
def test_an_image_by_its_digest(
    fake: FakeRegistry, access: Access, tmp_path: Path, form: str
) -> None:
    image = sample("one")
    store(fake, "x/y", image, "v1")
    reference = f"{fake.host}/x/y@{image.digest}"
    result = nixdock.pull_image(reference, tmp_path / "out", form=form, access=access)
    assert (result.digest, result.names) == (image.digest, (reference,))
    assert nixdock.verify_image(tmp_path / "out", strict=True).problems == ()


def test_a_docker_archive_has_the_config_and_the_layers(
    fake: FakeRegistry, access: Access, tmp_path: Path
) -> None:
    image = sample("one", "two")
    store(fake, "x/y", image, "v1")
    nixdock.pull_image(
        f"{fake.host}/x/y@{image.digest}", tmp_path / "out", form="docker-archive", access=access
    )
    files = archive_files(tmp_path / "out")
    (entry,) = orjson.loads(files["manifest.json"])
    assert files[entry["Config"]] == image.config
    assert [gzip.decompress(files[name]) for name in entry["Layers"]] == [
        gzip.decompress(layer) for layer in image.layers
    ]
    assert entry["RepoTags"] is None
    assert nixdock.verify_image(tmp_path / "out").problems == ()


def test_a_layout_keeps_correct_blobs(fake: FakeRegistry, access: Access, tmp_path: Path) -> None:
    first, second = sample("base", "one"), sample("base", "two")
    store(fake, "x", first, "v1")
    store(fake, "x", second, "v2")
    target = tmp_path / "layout"
    nixdock.pull_image(f"{fake.host}/x:v1", target, form="oci-layout", access=access)
    assert layout_blobs(target) == {**first.blobs, first.digest: first.manifest}
    fake.log.clear()
    result = nixdock.pull_image(f"{fake.host}/x:v2", target, form="oci-layout", access=access)
    assert layout_blobs(target) == {**second.blobs, second.digest: second.manifest}
    assert sorted(blob_requests(fake)) == sorted(
        {digest_of(second.layers[1]), digest_of(second.config)}
    )
    assert [blob.outcome for blob in result.blobs] == ["present", "written", "written"]
    # A damaged one is fetched again.
    damaged = target / "blobs" / "sha256" / digest_of(second.layers[0])[7:]
    damaged.write_bytes(b"x" * len(second.layers[0]))
    fake.log.clear()
    nixdock.pull_image(f"{fake.host}/x:v2", target, form="oci-layout", access=access)
    assert layout_blobs(target) == {**second.blobs, second.digest: second.manifest}
    assert blob_requests(fake) == [digest_of(second.layers[0])]


def test_a_transfer_that_breaks_goes_on(fake: FakeRegistry, access: Access, tmp_path: Path) -> None:
    image = sample("large", size=3 << 20)
    store(fake, "x", image, "v1")
    (layer,) = image.layers
    fake.faults += [Fault("GET", f"blobs/{digest_of(layer)}", cut=1 << 20) for _ in range(2)]
    nixdock.pull_image(f"{fake.host}/x:v1", tmp_path / "out", form="oci-layout", access=access)
    assert layout_blobs(tmp_path / "out")[digest_of(layer)] == layer
    asked = fake.requests("GET", f"blobs/{digest_of(layer)}")
    starts = [each.headers.get("Range", "bytes=0-") for each in asked]
    assert len(starts) == 3
    assert starts == sorted(starts, key=lambda text: int(text[6:-1]))


def test_a_pull_goes_on_where_a_failed_one_stopped(
    fake: FakeRegistry, access: Access, tmp_path: Path, parts: Path
) -> None:
    image = sample("small", "large", size=3 << 20)
    store(fake, "x", image, "v1")
    large = digest_of(image.layers[1])
    fake.faults.append(Fault("GET", f"blobs/{large}", status=404, times=100))
    with pytest.raises(nixdock.RegistryError, match=large):
        nixdock.pull_image(f"{fake.host}/x:v1", tmp_path / "out", access=access)
    assert sorted(os.listdir(tmp_path)) == ["home"]
    fake.faults.clear()
    fake.log.clear()
    (parts / large[7:]).write_bytes(image.layers[1][:1_000_000])
    result = nixdock.pull_image(f"{fake.host}/x:v1", tmp_path / "out", access=access)
    (asked,) = fake.requests("GET", f"blobs/{large}")
    assert asked.headers["Range"] == "bytes=1000000-"
    read = {blob.digest: blob.read for blob in result.blobs}
    assert read[large] == len(image.layers[1]) - 1_000_000
    assert nixdock.verify_image(tmp_path / "out").problems == ()
    assert list(parts.iterdir()) == []


def test_a_pull_goes_on_where_a_killed_one_stopped(
    fake: FakeRegistry, access: Access, tmp_path: Path, parts: Path
) -> None:
    image = sample("small", "large", size=4 << 20)
    store(fake, "x", image, "v1")
    small, large = map(digest_of, image.layers)
    fake.faults.append(Fault("GET", f"blobs/{large}", cut=3 << 20, stall=True))
    target = tmp_path / "layout"
    command = [*PROGRAM, "pull", f"{fake.host}/x:v1", "-o", str(target), "--format", "oci-layout"]
    with subprocess.Popen(command, env=environment()) as pull:
        wait_until(lambda: size_of(parts / large[7:]) >= 1 << 20, timeout=60, what="a part")
        wait_until(
            lambda: size_of(parts / small[7:]) == len(image.layers[0]), timeout=60, what="a blob"
        )
        pull.kill()
    assert not target.exists()
    kept = size_of(parts / large[7:])
    fake.log.clear()
    result = nixdock.pull_image(f"{fake.host}/x:v1", target, form="oci-layout", access=access)
    assert layout_blobs(target) == {**image.blobs, image.digest: image.manifest}
    assert [each.headers["Range"] for each in fake.requests("GET", large)] == [f"bytes={kept}-"]
    assert fake.requests("GET", small) == []
    assert result.read == len(image.layers[1]) - kept + len(image.config)
    # What the killed pull had beside its target is gone, too.
    assert sorted(os.listdir(tmp_path)) == ["home", "layout"]
    assert list(parts.iterdir()) == []


def size_of(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


@pytest.mark.parametrize("size", [1000, 5 << 20])
def test_a_wrong_part_is_dropped(
    fake: FakeRegistry, access: Access, tmp_path: Path, parts: Path, size: int
) -> None:
    image = sample("large", size=3 << 20)
    store(fake, "x", image, "v1")
    (layer,) = image.layers
    parts.mkdir(parents=True)
    (parts / digest_of(layer)[7:]).write_bytes(b"x" * size)
    nixdock.pull_image(f"{fake.host}/x:v1", tmp_path / "out", form="oci-layout", access=access)
    assert layout_blobs(tmp_path / "out")[digest_of(layer)] == layer
    assert list(parts.iterdir()) == []


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        (b"x" * 100, "has 100 bytes, but should have"),
        (b"x" * 10_000, "has more than"),
        (None, "is damaged: its digest is sha256:"),
    ],
)
@pytest.mark.parametrize("form", ["archive", "oci-layout"])
def test_a_wrong_blob_is_refused(
    fake: FakeRegistry,
    access: Access,
    tmp_path: Path,
    parts: Path,
    sent: bytes | None,
    message: str,
    form: str,
) -> None:
    image = sample("one")
    store(fake, "x", image, "v1")
    (layer,) = image.layers
    fake.tampered[digest_of(layer)] = b"x" * len(layer) if sent is None else sent
    found = f"^{fake.host}/x: the blob {digest_of(layer)} {message}.*push the image again$"
    with pytest.raises(nixdock.ImageError, match=found):
        nixdock.pull_image(f"{fake.host}/x:v1", tmp_path / "out", form=form, access=access)
    assert len(fake.requests("GET", digest_of(layer))) == 3
    assert sorted(os.listdir(tmp_path)) == ["home"]
    assert [file.name for file in parts.iterdir() if file.name == digest_of(layer)[7:]] == []


def test_a_blob_that_is_wrong_once_is_asked_for_again(
    fake: FakeRegistry, access: Access, tmp_path: Path
) -> None:
    image = sample("one")
    store(fake, "x", image, "v1")
    (layer,) = image.layers
    for path in (digest_of(layer), image.digest):
        wrong = Fault("GET", path, status=200, body=b"x" * len(layer), times=1)
        fake.faults.append(wrong)
    nixdock.pull_image(
        f"{fake.host}/x@{image.digest}", tmp_path / "out", form="oci-layout", access=access
    )
    assert layout_blobs(tmp_path / "out") == {**image.blobs, image.digest: image.manifest}


def test_pulls_at_the_same_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One ends, and another one begins, while a third has just verified the same blob."""
    data = b"x" * 1000
    directories = [tmp_path / name for name in ("parts", "a", "b")]
    for directory in directories:
        directory.mkdir()
    parts, *links = directories
    first, second = (staging._Kept(parts, directory) for directory in links)
    first.put(digest_of(data), Body.of(data))
    fill = staging._fill

    def fill_then(*arguments: Any) -> None:
        fill(*arguments)
        first.forget()

    monkeypatch.setattr(staging, "_fill", fill_then)
    assert second.put(digest_of(data), Body.of(data)).read_bytes() == data
    assert len(list(parts.iterdir())) == 1, "it was in use"
    second.forget()
    assert list(parts.iterdir()) == []


def test_a_file_system_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    data = b"x" * 1000
    parts, links = tmp_path / "parts", tmp_path / "links"
    parts.mkdir()
    links.mkdir()
    kept = staging._Kept(parts, links)
    assert kept.put(digest_of(data), Body.of(data)).read_bytes() == data
    kept.forget()
    assert list(parts.iterdir()) == []


def test_a_cache_without_room(
    fake: FakeRegistry, access: Access, tmp_path: Path, parts: Path
) -> None:
    image = sample("large", size=3 << 20)
    store(fake, "x", image, "v1")
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limit[1]))
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with pytest.raises(nixdock.OutputError, match=f"can't write {parts}/.*XDG_CACHE_HOME"):
            nixdock.pull_image(f"{fake.host}/x:v1", tmp_path / "out", access=access)
    finally:
        signal.signal(signal.SIGXFSZ, before)
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)


def test_a_wrong_manifest_is_refused(fake: FakeRegistry, access: Access, tmp_path: Path) -> None:
    image = sample("one")
    store(fake, "x", image, "v1")
    fake.tampered[image.digest] = image.manifest + b" "
    with pytest.raises(nixdock.RegistryError, match=image.digest):
        nixdock.pull_image(f"{fake.host}/x@{image.digest}", tmp_path / "out", access=access)
    assert not (tmp_path / "out").exists()


def test_a_missing_image_is_named(fake: FakeRegistry, access: Access, tmp_path: Path) -> None:
    store(fake, "x", sample("one"), "v1")
    with pytest.raises(nixdock.RegistryError) as caught:
        nixdock.pull_image(f"{fake.host}/x:v2", tmp_path / "out", access=access)
    assert str(caught.value) == (
        f"{fake.host}/x has no image v2; `nixdock tags {fake.host}/x` lists those it has"
    )


def test_one_platform_is_fetched(fake: FakeRegistry, access: Access, tmp_path: Path) -> None:
    platforms = Platforms()
    platforms.store(fake, "x", "v1")
    reference = f"{fake.host}/x:v1"
    for platform, image in ((None, platforms.amd64), ("linux/arm64", platforms.arm64)):
        fake.log.clear()
        target = tmp_path / image.digest[7:]
        result = nixdock.pull_image(
            reference, target, form="oci-layout", platform=platform, access=access
        )
        assert result.digest == image.digest
        assert layout_blobs(target) == {**image.blobs, image.digest: image.manifest}
        assert sorted(blob_requests(fake)) == sorted(image.blobs)
    with pytest.raises(
        nixdock.InputError, match=r"no image for linux/riscv64 in sha256:.*; it has"
    ):
        nixdock.pull_image(reference, tmp_path / "x", platform="linux/riscv64", access=access)
    with pytest.raises(nixdock.InputError, match="no image for linux/s390x"):
        nixdock.pull_image(
            f"{fake.host}/x@{platforms.amd64.digest}",
            tmp_path / "x",
            platform="linux/s390x",
            access=access,
        )


@pytest.mark.parametrize("form", ["archive", "oci-layout"])
def test_all_platforms_are_fetched(
    fake: FakeRegistry, access: Access, tmp_path: Path, form: str
) -> None:
    platforms = Platforms()
    digest = platforms.store(fake, "x", "v1")
    result = nixdock.pull_image(
        f"{fake.host}/x:v1", tmp_path / "out", form=form, all_platforms=True, access=access
    )
    assert result.digest == digest
    assert len(result.manifests) == 4
    images = (platforms.amd64, platforms.arm64, platforms.attestation)
    expected = {digest: fake.manifests["x"][digest].data}
    for image in images:
        expected |= {**image.blobs, image.digest: image.manifest}
    if form == "oci-layout":
        assert layout_blobs(tmp_path / "out") == expected
    else:
        files = archive_files(tmp_path / "out")
        assert {f"sha256:{n[13:]}": x for n, x in files.items() if n[:6] == "blobs/"} == expected
        (docker,) = orjson.loads(files["manifest.json"])
        assert digest_of(files[docker["Config"]]) == digest_of(platforms.amd64.config)
    # What they share is fetched once.
    assert sorted(blob_requests(fake)) == sorted({d for image in images for d in image.blobs})
    assert nixdock.verify_image(tmp_path / "out").problems == ()


@pytest.mark.parametrize(
    "stated",
    [
        {},
        {"platform": {}},
        {"platform": {"os": "linux"}},
        {"platform": {"architecture": "", "os": ""}},
    ],
)
def test_platforms_that_the_index_does_not_state_are_found(
    fake: FakeRegistry, access: Access, tmp_path: Path, stated: dict[str, Any]
) -> None:
    amd64, arm64 = sample("one"), sample("two", architecture="arm64")
    for image in (amd64, arm64):
        store(fake, "x", image)
    index = {"schemaVersion": 2, "mediaType": Platforms().index["mediaType"]}
    inner = {**index, "manifests": [each.descriptor() | stated for each in (arm64, amd64)]}
    digest = fake.add_manifest("x", inner)
    entry = {"mediaType": inner["mediaType"], "digest": digest, "size": len(orjson.dumps(inner))}
    fake.add_manifest("x", {**index, "manifests": [entry]}, "v1")
    for platform, image in ((None, amd64), ("linux/arm64", arm64)):
        result = nixdock.pull_image(
            f"{fake.host}/x:v1", tmp_path / "out", platform=platform, access=access
        )
        assert result.digest == image.digest


def test_a_digest_in_an_index_becomes_no_path(
    fake: FakeRegistry, access: Access, tmp_path: Path
) -> None:
    entry = sample("one").descriptor() | {"digest": "sha256:../../../other"}
    fake.add_manifest("x", Platforms().index | {"manifests": [entry]}, "v1")
    for every in (False, True):
        with pytest.raises(nixdock.ImageError, match="is not a digest"):
            nixdock.pull_image(
                f"{fake.host}/x:v1", tmp_path / "out", all_platforms=every, access=access
            )
    assert fake.routes(path="other") == []


def test_contradicting_choices_are_refused(tmp_path: Path) -> None:
    with pytest.raises(nixdock.InputError, match="choose one of the two"):
        nixdock.pull_image("x", tmp_path / "out", platform="linux/amd64", all_platforms=True)
    with pytest.raises(nixdock.InputError, match="a docker-archive holds the image for one"):
        nixdock.pull_image("x", tmp_path / "out", form="docker-archive", all_platforms=True)


def test_foreign_layers_are_not_fetched_from_elsewhere(
    fake: FakeRegistry, access: Access, tmp_path: Path
) -> None:
    image = sample("one")
    document = orjson.loads(image.manifest)
    layer = {**document["layers"][0], "digest": digest_of(b"elsewhere"), "size": 9}
    layer["urls"] = [f"{fake.url}/secret"]
    store(fake, "x", image)
    fake.add_manifest("x", {**document, "layers": [layer]}, "v1")
    with pytest.raises(nixdock.ImageError) as caught:
        nixdock.pull_image(f"{fake.host}/x:v1", tmp_path / "out", access=access)
    assert str(caught.value).endswith(
        f": the layer {digest_of(b'elsewhere')} is at '{fake.url}/secret' and not in"
        f" {fake.host}/x; nixdock fetches no layers from other places"
    )
    assert fake.routes(path="secret") == []


def test_what_could_be_an_index_or_a_manifest_is_refused(
    fake: FakeRegistry, access: Access, tmp_path: Path
) -> None:
    image = sample("one", manifests=[])
    store(fake, "x", image, "v1")
    with pytest.raises(nixdock.ImageError, match="has both manifests and layers"):
        nixdock.pull_image(f"{fake.host}/x:v1", tmp_path / "out", access=access)


def test_a_pull_waits_for_another_one_of_the_same_blob(
    fake: FakeRegistry, access: Access, tmp_path: Path, parts: Path
) -> None:
    image = sample("one")
    store(fake, "x", image, "v1")
    (layer,) = image.layers
    parts.mkdir(parents=True)
    part = parts / digest_of(layer)[7:]
    with part.open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        pull = threading.Thread(
            target=nixdock.pull_image,
            args=(f"{fake.host}/x:v1", tmp_path / "out"),
            kwargs={"access": access},
        )
        pull.start()
        # The other pull completes the part, and removes it before this one gets the lock.
        lock.write(layer)
        lock.flush()
        part.unlink()
    pull.join()
    assert nixdock.verify_image(tmp_path / "out").problems == ()


def test_parts_of_other_pulls_are_bounded(parts: Path) -> None:
    parts.mkdir(parents=True)
    for i in range(5):
        (parts / f"{i}").write_bytes(b"x" * 100)
        os.utime(parts / f"{i}", (i, i))
    with (parts / "1").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        staging._trim(parts, 250)
    assert sorted(file.name for file in parts.iterdir()) == ["1", "4"]


def test_without_a_cache_a_pull_needs_none(
    fake: FakeRegistry, access: Access, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("HOME")
    assert staging.partial_directory() is None
    image = sample("one")
    store(fake, "x", image, "v1")
    nixdock.pull_image(f"{fake.host}/x:v1", tmp_path / "out", access=access)
    assert sorted(os.listdir(tmp_path)) == ["home", "out"]


def test_a_cache_of_somebody_else_is_not_used(parts: Path, tmp_path: Path) -> None:
    parts.parent.mkdir(parents=True)
    (tmp_path / "theirs").mkdir()
    parts.symlink_to(tmp_path / "theirs")
    assert staging.partial_directory() is None
