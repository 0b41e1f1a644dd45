"""Pushing images to a registry that has nothing, everything, or something in between."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

import nixdock
from nixdock import Access, Compression, Credentials, PushedImage, Pushing
from nixdock.errors import ImageError, InputError, PackError, RegistryError

from ..registry.fake_registry import FakeRegistry, Fault

SampleSpec = Callable[..., Path]
NO_CACHE = Pushing(use_cache=False)
APP = "d" * 32 + "-app"


def push(spec: Path, *destinations: str, options: Pushing = NO_CACHE, **others: Any) -> PushedImage:
    return nixdock.push_image(nixdock.read_spec(spec), destinations, options, **others)


def outcomes(result: PushedImage) -> dict[str, int]:
    return dict(Counter(layer.outcome.value for layer in result.layers))


def writes(fake: FakeRegistry) -> list[str]:
    return fake.routes("PUT|POST|PATCH")


def config_of(fake: FakeRegistry, repository: str, digest: str) -> str:
    found: str = json.loads(fake.manifests[repository][digest].data)["config"]["digest"]
    return found


def change_app(directory: Path) -> None:
    """Change the app, as another build of it would."""
    file = directory / f"root/nix/store/{APP}/etc/app.conf"
    file.chmod(0o644)
    file.write_bytes(b"on = false\n")
    file.chmod(0o444)
    graph = json.loads((directory / "graph.json").read_text())
    (app,) = (info for info in graph if info["path"].endswith("-app"))
    app["narHash"] = f"sha256:{'1' * 52}"
    (directory / "graph.json").write_text(json.dumps(graph))


@pytest.mark.parametrize("compression", [Compression.NONE, Compression.GZIP, Compression.ZSTD])
def test_a_new_image(
    sample_spec: SampleSpec, tmp_path: Path, fake: FakeRegistry, compression: Compression
) -> None:
    spec = sample_spec(tmp_path)
    result = push(spec, f"{fake.host}/a/b:v1", options=Pushing(compression, use_cache=False))
    assert outcomes(result) == {"uploaded": len(result.layers)}
    built = nixdock.build_image(
        nixdock.read_spec(spec), tmp_path / "x", form="oci-layout", compression=compression
    )
    assert result.digest == built.manifest.digest
    stored = fake.manifest("a/b", "v1")
    assert stored is not None and stored.data == built.manifest.data
    assert set(fake.blobs["a/b"]) == {
        *(layer.digest for layer in built.layers),
        built.config.digest,
    }
    assert result.references == (f"{fake.host}/a/b@{built.manifest.digest}",)
    assert result.sent == sum(len(data) for data in fake.blobs["a/b"].values()) + 2 * len(
        built.manifest.data
    )
    assert result.requests == len(fake.log)
    # The tag comes last, and blobs before the manifest that names them.
    assert writes(fake)[-2:] == [
        f"PUT /v2/a/b/manifests/{built.manifest.digest}",
        "PUT /v2/a/b/manifests/v1",
    ]


def test_an_unchanged_image_needs_no_file_of_the_store(
    sample_spec: SampleSpec, tmp_path: Path, fake: FakeRegistry
) -> None:
    spec = sample_spec(tmp_path, contents=[], config={})
    first = push(spec, f"{fake.host}/a")
    fake.log.clear()
    remove_store(tmp_path)
    again = push(spec, f"{fake.host}/a")
    assert again.digest == first.digest
    assert outcomes(again) == {"known": len(first.layers)}
    assert (writes(fake), again.sent) == ([], 0)
    assert again.requests == len(fake.log) <= 6


def remove_store(directory: Path) -> None:
    for path in (directory / "root").rglob("*"):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    shutil.rmtree(directory / "root")


def test_another_repository_gets_everything_by_mounts(
    sample_spec: SampleSpec, tmp_path: Path, fake: FakeRegistry
) -> None:
    spec = sample_spec(tmp_path, contents=[], config={})
    first = push(spec, f"{fake.host}/a:v1")
    fake.log.clear()
    remove_store(tmp_path)
    result = push(spec, f"{fake.host}/b/c:v1", reuse=[f"docker://{fake.host}/a:v1"])
    assert result.digest == first.digest
    assert outcomes(result) == {"mounted": len(first.layers)}
    assert len(fake.requests("PUT", "uploads")) == 1, "the config"
    assert set(fake.blobs["b/c"]) == set(fake.blobs["a"])


def test_a_mount_that_is_refused_becomes_an_upload(
    sample_spec: SampleSpec, tmp_path: Path, fake: FakeRegistry
) -> None:
    spec = sample_spec(tmp_path)
    push(spec, f"{fake.host}/a:v1")
    fake.refuses_mounts = True
    result = push(spec, f"{fake.host}/b:v1", reuse=[f"docker://{fake.host}/a:v1"])
    assert outcomes(result) == {"uploaded": len(result.layers)}
    assert set(fake.blobs["b"]) == set(fake.blobs["a"])


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 500, 501, 503])
def test_a_mount_that_is_an_error_becomes_an_upload(
    sample_spec: SampleSpec, tmp_path: Path, fake: FakeRegistry, status: int
) -> None:
    spec = sample_spec(tmp_path)
    push(spec, f"{fake.host}/a:v1")
    # The account may have no right to the other repository, which may also be gone.
    fake.faults.append(Fault("POST", "mount=", times=99, status=status))
    result = push(spec, f"{fake.host}/b:v1", reuse=[f"docker://{fake.host}/a:v1"])
    assert outcomes(result) == {"uploaded": len(result.layers)}
    assert set(fake.blobs["b"]) == set(fake.blobs["a"])


def test_another_tag_of_a_repository_needs_no_requests_for_layers(
    sample_spec: SampleSpec, tmp_path: Path, fake: FakeRegistry
) -> None:
    spec = sample_spec(tmp_path)
    first = push(spec, f"{fake.host}/a:v1")
    fake.log.clear()
    result = push(spec, f"{fake.host}/a:v2", reuse=[f"docker://{fake.host}/a:v1"])
    assert outcomes(result) == {"known": len(first.layers)}
    assert writes(fake) == ["PUT /v2/a/manifests/v2"]


def test_only_what_changed_is_sent(
    sample_spec: SampleSpec, tmp_path: Path, fake: FakeRegistry
) -> None:
    spec = sample_spec(tmp_path)
    first = push(spec, f"{fake.host}/a")
    before = set(fake.blobs["a"])
    change_app(tmp_path)
    fake.log.clear()
    result = push(spec, f"{fake.host}/a")
    changed = {layer.digest for layer in result.layers} - {layer.digest for layer in first.layers}
    assert len(changed) == 1
    assert set(fake.blobs["a"]) - before == {*changed, config_of(fake, "a", result.digest)}
    assert outcomes(result) == {"known": len(first.layers) - 1, "uploaded": 1}
    assert result.read < first.read
    assert result.digest == push(spec, f"{fake.host}/new").digest


@pytest.mark.parametrize("cores", [1, 2, 5])
def test_cores_change_nothing(
    sample_spec: SampleSpec, tmp_path: Path, fake: FakeRegistry, cores: int
) -> None:
    spec = sample_spec(tmp_path)
    alone = nixdock.image_digests(nixdock.read_spec(spec))
    result = push(spec, f"{fake.host}/a", options=Pushing(cores=cores, use_cache=False))
    assert result.digest == alone.manifest.digest


def test_several_destinations_share_one_packing(
    sample_spec: SampleSpec, tmp_path: Path, fake: FakeRegistry
) -> None:
    spec = sample_spec(tmp_path)
    alone = push(spec, f"{fake.host}/z")
    names = [f"{fake.host}/a:1", f"{fake.host}/a:2", f"docker://{fake.host}/b"]
    result = push(spec, *names)
    digest = alone.digest
    assert result.read == alone.read
    assert fake.tags["a"] == {"1": digest, "2": digest}
    assert fake.tags["b"] == {"latest": digest}
    assert result.references == (f"{fake.host}/a@{digest}", f"{fake.host}/b@{digest}")


def test_a_dry_run_sends_nothing(
    sample_spec: SampleSpec, tmp_path: Path, fake: FakeRegistry
) -> None:
    spec = sample_spec(tmp_path)
    dry = push(spec, f"{fake.host}/a", options=Pushing(dry_run=True, use_cache=False))
    assert (writes(fake), fake.blobs) == ([], {})
    wet = push(spec, f"{fake.host}/a")
    assert outcomes(dry) == outcomes(wet)
    # The dry run does not count the manifest twice: under its digest, and under its tag.
    assert dry.sent == wet.sent - len(fake.manifests["a"][wet.digest].data)
    fake.log.clear()
    again = push(spec, f"{fake.host}/a", options=Pushing(dry_run=True, use_cache=False))
    assert (outcomes(again), again.sent, writes(fake)) == (outcomes(again), 0, [])


@pytest.mark.parametrize("status", [401, 403, 404, 503])
def test_a_dry_run_needs_no_right_to_another_repository(
    sample_spec: SampleSpec, tmp_path: Path, fake: FakeRegistry, status: int
) -> None:
    """Nor does the push, which uploads what it can't mount."""
    spec = sample_spec(tmp_path)
    push(spec, f"{fake.host}/a:v1")
    fake.faults += [
        Fault("HEAD", "^/v2/a/blobs", times=99, status=status),
        Fault("POST", "mount=", times=99, status=status),
    ]
    reuse = [f"docker://{fake.host}/a:v1"]
    dry = push(spec, f"{fake.host}/b:v1", reuse=reuse, options=Pushing(dry_run=True))
    assert fake.requests("HEAD", "^/v2/a/blobs")
    wet = push(spec, f"{fake.host}/b:v1", reuse=reuse)
    assert outcomes(dry) == outcomes(wet) == {"uploaded": len(wet.layers)}


def lie(fake: FakeRegistry, repository: str, tag: str) -> None:
    """Let the manifest of an image say that two layers are each other."""
    stored = fake.manifest(repository, tag)
    assert stored is not None
    manifest = json.loads(stored.data)
    first, second, *_ = manifest["layers"]
    first["annotations"], second["annotations"] = second["annotations"], first["annotations"]
    fake.add_manifest(repository, manifest, tag)


def test_known_layers_can_be_verified(
    sample_spec: SampleSpec, tmp_path: Path, fake: FakeRegistry
) -> None:
    spec = sample_spec(tmp_path)
    first = push(spec, f"{fake.host}/a")
    verifying = Pushing(verify_known=True, use_cache=False)
    again = push(spec, f"{fake.host}/a", options=verifying)
    assert (outcomes(again), again.sent) == ({"known": len(first.layers)}, 0)
    assert again.read >= first.read

    lie(fake, "a", "latest")
    fake.log.clear()
    with pytest.raises(ImageError, match=rf"{fake.host}/a says that its blob is sha256:") as caught:
        push(spec, f"{fake.host}/a", options=verifying)
    assert caught.value.digest in {layer.digest for layer in first.layers}
    assert writes(fake) == []


def test_a_blob_that_the_registry_lost_is_sent_again(
    sample_spec: SampleSpec, tmp_path: Path, fake: FakeRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    spec = sample_spec(tmp_path)
    first = push(spec, f"{fake.host}/a")
    lost = first.layers[0].digest
    del fake.blobs["a"][lost]
    result = push(spec, f"{fake.host}/a:other", reuse=[f"{fake.host}/a"])
    assert outcomes(result) == {"known": len(first.layers) - 1, "uploaded": 1}
    assert lost in fake.blobs["a"]
    assert "has lost 1 of the layers" in caplog.text


def test_a_mount_that_the_registry_only_says_it_made_becomes_an_upload(
    sample_spec: SampleSpec, tmp_path: Path, fake: FakeRegistry, access: Access
) -> None:
    spec = sample_spec(tmp_path)
    push(spec, f"{fake.host}/a:v1")
    fake.faults.append(Fault("POST", "mount=", times=2, status=201))
    reuse = [f"docker://{fake.host}/a:v1"]
    result = push(spec, f"{fake.host}/b:v1", reuse=reuse, access=access)
    assert outcomes(result) == {"mounted": len(result.layers) - 2, "uploaded": 2}
    assert set(fake.blobs["b"]) == set(fake.blobs["a"])


@pytest.mark.parametrize("codes", [["MANIFEST_BLOB_UNKNOWN"], ["DIGEST_INVALID", "BLOB_UNKNOWN"]])
def test_a_blob_that_the_registry_does_not_find_for_a_moment_is_not_sent_again(
    sample_spec: SampleSpec, tmp_path: Path, fake: FakeRegistry, access: Access, codes: list[str]
) -> None:
    spec = sample_spec(tmp_path)
    body = orjson.dumps({"errors": [{"code": code} for code in codes]})
    fake.faults.append(Fault("PUT", "/manifests/", times=2, status=400, body=body))
    result = push(spec, f"{fake.host}/a", access=access)
    assert outcomes(result) == {"uploaded": len(result.layers)}
    assert len(fake.requests("PUT", "/blobs/")) == len(result.layers) + 1
    assert len(fake.requests("PUT", "/manifests/")) == 2 + 2

    fake.faults.append(Fault("PUT", "/manifests/", times=3, status=400, body=body))
    change_app(tmp_path)
    with pytest.raises(RegistryError, match=codes[0]) as caught:
        push(spec, f"{fake.host}/a", access=access)
    assert caught.value.codes == tuple(codes)


def test_layers_of_an_image_in_a_file_are_asked_for(
    sample_spec: SampleSpec, tmp_path: Path, fake: FakeRegistry
) -> None:
    spec = sample_spec(tmp_path, contents=[], config={})
    nixdock.build_image(nixdock.read_spec(spec), tmp_path / "image.tar")
    first = push(spec, f"{fake.host}/a:v1")
    remove_store(tmp_path)
    fake.log.clear()
    result = push(spec, f"{fake.host}/a:v2", reuse=[str(tmp_path / "image.tar")])
    assert outcomes(result) == {"present": len(first.layers)}
    digest = first.digest
    assert writes(fake) == [f"PUT /v2/a/manifests/{digest}", "PUT /v2/a/manifests/v2"]


def test_the_cache_knows_what_was_packed_and_where_it_is(
    sample_spec: SampleSpec, tmp_path: Path, fake: FakeRegistry, cache: Path
) -> None:
    spec = sample_spec(tmp_path)
    first = push(spec, f"{fake.host}/a", options=Pushing())
    assert len(os.listdir(cache)) == len(first.layers)
    result = push(spec, f"{fake.host}/b", options=Pushing())
    stored = [layer for layer in result.layers if layer.outcome.value == "mounted"]
    assert len(stored) == len(result.layers)
    for file in cache.iterdir():
        file.write_text("{")
    assert outcomes(push(spec, f"{fake.host}/c", options=Pushing())) == {
        "uploaded": len(first.layers)
    }


def test_what_manifests_say_does_not_get_into_the_cache(
    sample_spec: SampleSpec, tmp_path: Path, fake: FakeRegistry, cache: Path
) -> None:
    spec = sample_spec(tmp_path)
    push(spec, f"{fake.host}/a")
    lie(fake, "a", "latest")
    wrong = push(spec, f"{fake.host}/a", options=Pushing())
    assert len(os.listdir(cache)) == 1, "the top layer, which was packed"
    right = push(spec, f"{fake.host}/b", options=Pushing())
    assert right.digest != wrong.digest
    assert right.digest == push(spec, f"{fake.host}/c").digest


def test_another_media_type_than_that_of_the_compression_is_not_taken_over(
    sample_spec: SampleSpec, tmp_path: Path, fake: FakeRegistry
) -> None:
    spec = sample_spec(tmp_path)
    first = push(spec, f"{fake.host}/a")
    stored = fake.manifest("a", "latest")
    assert stored is not None
    manifest = json.loads(stored.data)
    manifest["layers"][0]["mediaType"] = manifest["layers"][0]["mediaType"].removesuffix("+gzip")
    fake.add_manifest("a", manifest, "latest")
    assert push(spec, f"{fake.host}/a").digest == first.digest


def test_an_image_of_another_platform_is_left_alone(
    sample_spec: SampleSpec, tmp_path: Path, fake: FakeRegistry
) -> None:
    spec = sample_spec(tmp_path)
    first = push(spec, f"{fake.host}/a:amd64")
    stored = fake.manifest("a", "amd64")
    assert stored is not None
    fake.add_manifest(
        "a",
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [
                {
                    "mediaType": stored.media_type,
                    "digest": first.digest,
                    "size": len(stored.data),
                    "platform": {"os": "linux", "architecture": "amd64"},
                }
            ],
        },
        "latest",
    )
    result = push(spec, f"{fake.host}/a")
    assert outcomes(result) == {"known": len(first.layers)}
    assert fake.tags["a"]["latest"] == first.digest


@pytest.mark.parametrize("document", [{"schemaVersion": 1}, {"layers": 3}, {}])
def test_what_is_no_image_at_the_destination_is_replaced(
    sample_spec: SampleSpec, tmp_path: Path, fake: FakeRegistry, document: dict[str, object]
) -> None:
    manifest = {"mediaType": "application/vnd.oci.image.manifest.v1+json", **document}
    fake.add_manifest("a", manifest, "latest")
    result = push(sample_spec(tmp_path), f"{fake.host}/a")
    assert fake.tags["a"]["latest"] == result.digest


def test_a_registry_that_is_not_there_is_found_out_before_anything_is_packed(
    sample_spec: SampleSpec, tmp_path: Path, fake: FakeRegistry
) -> None:
    spec = sample_spec(tmp_path, contents=[], config={})
    push(spec, f"{fake.host}/a")
    remove_store(tmp_path)
    # Nobody listens on port 1.
    with pytest.raises(RegistryError, match=r"127\.0\.0\.1:1/a") as caught:
        push(spec, "127.0.0.1:1/a")
    assert caught.value.status is None
    with pytest.raises(RegistryError, match=r"127\.0\.0\.1:1/b"):
        push(spec, f"{fake.host}/new", reuse=["127.0.0.1:1/b"])


def test_a_broken_upload_goes_on(
    sample_spec: SampleSpec, tmp_path: Path, fake: FakeRegistry
) -> None:
    fake.faults += [
        Fault("PUT", "uploads", cut=100),
        Fault("POST", "uploads", status=503, skip=1),
        Fault("HEAD", "blobs", status=500),
    ]
    result = push(sample_spec(tmp_path), f"{fake.host}/a")
    assert {layer.digest for layer in result.layers} <= set(fake.blobs["a"])


def test_a_failure_leaves_the_tag_alone(
    sample_spec: SampleSpec, tmp_path: Path, fake: FakeRegistry
) -> None:
    spec = sample_spec(tmp_path)
    first = push(spec, f"{fake.host}/a")
    change_app(tmp_path)
    fake.faults.append(Fault("PUT", "uploads", times=100, status=403))
    with pytest.raises(RegistryError, match="403") as caught:
        push(spec, f"{fake.host}/a")
    assert (caught.value.status, caught.value.place) == (403, f"{fake.host}/a")
    assert fake.tags["a"]["latest"] == first.digest
    assert list(tmp_path.glob("nixdock-*")) == []


def test_a_store_that_lacks_a_path_fails_before_the_tag(
    sample_spec: SampleSpec, tmp_path: Path, fake: FakeRegistry
) -> None:
    spec = sample_spec(tmp_path, contents=[], config={})
    remove_store(tmp_path)
    with pytest.raises(PackError, match="does not exist"):
        push(spec, f"{fake.host}/a")
    assert fake.tags == {}


@pytest.mark.parametrize("destinations", [(), ("a b",), (f"a@sha256:{'0' * 64}",)])
def test_wrong_destinations(
    sample_spec: SampleSpec, tmp_path: Path, destinations: tuple[str, ...]
) -> None:
    with pytest.raises(InputError):
        push(sample_spec(tmp_path), *destinations)


def test_whenever_a_push_is_killed_the_tag_is_that_of_a_whole_image(
    sample_spec: SampleSpec, tmp_path: Path, fake: FakeRegistry
) -> None:
    spec = sample_spec(tmp_path)
    old = push(spec, f"{fake.host}/a").digest
    change_app(tmp_path)
    new = push(spec, f"{fake.host}/elsewhere").digest
    for moment in range(20):
        fake.tags["a"] = {"latest": old}
        fake.blobs["a"] = {
            digest: data for digest, data in fake.blobs["a"].items() if digest not in ADDED
        }
        for digest in set(fake.manifests["a"]) - {old}:
            del fake.manifests["a"][digest]
        killed_after(moment // 2, spec, f"{fake.host}/a", fake)
        assert fake.tags["a"]["latest"] in {old, new}
        assert_whole(fake, "a", fake.tags["a"]["latest"])
    assert push(spec, f"{fake.host}/a").digest == new
    assert_whole(fake, "a", new)


ADDED: set[str] = set()


def killed_after(requests: int, spec: Path, name: str, fake: FakeRegistry) -> None:
    """Push in another process, and kill it when so many requests have been logged."""
    fake.log.clear()
    before = set(fake.blobs["a"])
    command = [sys.executable, "-m", "nixdock", "push", "-q", "--no-cache", str(spec), name]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while len(fake.log) < requests and process.poll() is None:
            pass
        process.send_signal(signal.SIGKILL)
    ADDED.update(set(fake.blobs["a"]) - before)


def assert_whole(fake: FakeRegistry, repository: str, digest: str) -> None:
    manifest = json.loads(fake.manifests[repository][digest].data)
    named = {each["digest"] for each in [manifest["config"], *manifest["layers"]]}
    assert named <= set(fake.blobs[repository])


@pytest.mark.parametrize("form", ["oci-layout", "archive", "docker-archive"])
def test_an_image_that_exists_is_copied(
    sample_spec: SampleSpec, tmp_path: Path, fake: FakeRegistry, form: str
) -> None:
    built = nixdock.build_image(
        nixdock.read_spec(sample_spec(tmp_path)), tmp_path / "image", form=form
    )
    names = [f"{fake.host}/a:1", f"{fake.host}/a:2", f"{fake.host}/b:1"]
    result = nixdock.push_image(str(tmp_path / "image"), names)
    if form != "docker-archive":
        assert result.digest == built.manifest.digest
    assert fake.tags == {"a": dict.fromkeys("12", result.digest), "b": {"1": result.digest}}
    assert outcomes(result) == {"uploaded": len(built.layers)}
    assert result.references == tuple(f"{fake.host}/{name}@{result.digest}" for name in "ab")
    assert result.requests == len(fake.log)
    again = nixdock.push_image(str(tmp_path / "image"), names)
    assert (outcomes(again), again.sent) == ({"present": len(built.layers)}, 0)
    assert result.requests + again.requests == len(fake.log)


def test_one_token_does_for_a_whole_push(
    sample_spec: SampleSpec, tmp_path: Path, fake: FakeRegistry
) -> None:
    fake.accounts.kind = "token"
    fake.accounts.passwords["user"] = "secret"
    access = Access(credentials=Credentials("user", "secret"))
    push(sample_spec(tmp_path), f"{fake.host}/a", access=access)
    (scopes,) = fake.accounts.asked
    assert "repository:a:pull,push" in scopes


@pytest.mark.parametrize("status", [403, 405, 501])
def test_a_registry_that_answers_no_head(
    sample_spec: SampleSpec, tmp_path: Path, fake: FakeRegistry, status: int
) -> None:
    """As proxies do that let only GET pass, and storage whose URLs are signed for that."""
    fake.faults = [Fault("HEAD", times=999, status=status)]
    first = push(sample_spec(tmp_path), f"{fake.host}/a/b:v1")
    assert set(outcomes(first)) == {"uploaded"}
    nixdock.copy_image(f"docker://{fake.host}/a/b:v1", f"docker://{fake.host}/a/b:v2")
    blobs = len(fake.requests("PUT", "uploads"))
    again = push(sample_spec(tmp_path), f"{fake.host}/a/b:v3")
    assert set(outcomes(again)) <= {"known", "present"}
    assert len(fake.requests("PUT", "uploads")) == blobs
    assert fake.manifest("a/b", "v2") == fake.manifest("a/b", "v3")
