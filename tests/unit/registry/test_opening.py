"""Every command on every kind of location, and what it fetches from a registry."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme
from click.testing import CliRunner, Result

import nixdock
from nixdock.cli import main
from nixdock.errors import ImageError, InputError, RegistryError

from .authorities import server_context
from .fake_registry import FakeRegistry, Fault, fake_registry
from .filling import fill, fill_index

Write = Callable[..., Path]
KINDS = ["docker", "oci", "oci-archive", "docker-archive", "path"]
REPOSITORY = "team/app"


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)])


def output(*arguments: str | Path) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


def error(*arguments: str | Path) -> str:
    """Run nixdock and return the message of the error that it raises."""
    with pytest.raises(nixdock.NixdockError) as raised:
        main.main([*map(str, arguments)], standalone_mode=False)
    return str(raised.value)


def build(spec: Path, name: str, form: str = "oci-layout", compression: str = "none") -> Path:
    target = spec.parent / name
    output("build", spec, "-q", "--format", form, "--compression", compression, "-o", target)
    return target


@pytest.fixture
def spec(tmp_path: Path, sample_spec: Write) -> Path:
    return sample_spec(tmp_path, layering={"strategy": "stable"})


@pytest.fixture
def layout(spec: Path, sample_image: Write) -> Path:
    return image(sample_image, spec.with_name("layout"))


@pytest.fixture
def remote(fake: FakeRegistry, layout: Path) -> str:
    """The location of the image in a registry."""
    fill(fake, REPOSITORY, layout, "v1")
    return f"docker://{fake.host}/{REPOSITORY}:v1"


def image(sample_image: Write, target: Path, form: str = "oci-layout") -> Path:
    """Return the image of `spec`."""
    return sample_image(target, form, "none", layering={"strategy": "stable"})


@pytest.fixture(params=KINDS)
def location(request: pytest.FixtureRequest, spec: Path, sample_image: Write) -> str:
    """The location of the image, in every notation."""
    match request.param:
        case "docker":
            return str(request.getfixturevalue("remote"))
        case "oci":
            return f"oci:{request.getfixturevalue('layout')}:v1"
        case "oci-archive":
            return f"oci-archive:{image(sample_image, spec.with_name('oci.tar'), 'oci-archive')}:v1"
        case "docker-archive":
            file = image(sample_image, spec.with_name("docker.tar"), "docker-archive")
            return f"docker-archive:{file}:x/y:v1"
    return str(image(sample_image, spec.with_name("image.tar"), "archive"))


def fetched(fake: FakeRegistry) -> tuple[int, int]:
    """Return the number of manifests and of blobs that were fetched."""
    return (len(fake.requests("GET", "/manifests/")), len(fake.requests("GET", "/blobs/")))


def content_requests(fake: FakeRegistry) -> int:
    """Return the number of requests, without those that find out that there is no HTTPS."""
    return len([route for route in fake.routes() if route != "GET /v2/"])


def layer_requests(fake: FakeRegistry) -> list[str]:
    """Return the digest of the layer for each request for all of its bytes."""
    manifest = json.loads(next(iter(fake.manifests[REPOSITORY].values())).data)
    layers = {layer["digest"] for layer in manifest["layers"]}
    whole = [each for each in fake.requests("GET", "/blobs/") if "Range" not in each.headers]
    digests = [each.path.rpartition("/")[2] for each in whole]
    return sorted(digest for digest in digests if digest in layers)


# Every command on every kind of location.


def test_inspect(location: str, layout: Path) -> None:
    expected = json.loads(output("inspect", layout, "--json"))["images"][0]
    report = json.loads(output("inspect", location, "--json"))
    assert report["format"] == {"docker:/": "registry"}.get(location[:8], report["format"])
    (image,) = report["images"]
    for key in ("config_digest", "config"):
        assert image[key] == expected[key]
    assert [x["store_paths"] for x in image["layers"]] == [
        x["store_paths"] for x in expected["layers"]
    ]


def test_verify(location: str) -> None:
    assert output("verify", location).startswith("ok: ")


def test_export(location: str, layout: Path, tmp_path: Path) -> None:
    for place, target in ((location, "one.tar"), (layout, "other.tar")):
        output("export", place, "-o", tmp_path / target)
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "other.tar").read_bytes()


def test_merge(location: str, layout: Path, tmp_path: Path) -> None:
    output("merge", location, "-o", tmp_path / "merged.tar")
    assert output("verify", tmp_path / "merged.tar").startswith("ok: docker-archive, 1 image, ")
    (merged,) = nixdock.inspect_image(tmp_path / "merged.tar").images
    assert merged.config_digest == nixdock.inspect_image(layout).images[0].config_digest


def test_diff(location: str, layout: Path) -> None:
    document = json.loads(output("diff", layout, location, "--json"))
    assert document["transfers"]["registry"]["layers"] == 0
    assert document["paths"] == {"new": 0, "gone": 0, "kept": 4, "moved": 0}
    assert document["new"]["origin"] == location


def test_previous(location: str, layout: Path, tmp_path: Path) -> None:
    graph = tmp_path / "graph.json"
    expected = output("plan", graph, "--previous", layout, "--json")
    assert output("plan", graph, "--previous", location, "--json") == expected


def test_database_of_a_base(location: str, tmp_path: Path) -> None:
    output("db", tmp_path / "graph.json", "--base", location, "-o", tmp_path / "root")
    assert (tmp_path / "root/nix/var/nix/db/db.sqlite").exists()


def test_a_family_on_a_base(location: str, tmp_path: Path) -> None:
    graph = tmp_path / "graph.json"
    # Its sizes are larger than the real ones: the base would have parts of the paths.
    graph.write_text(graph.read_text().replace('"narSize": 1000', '"narSize": 1'))
    bases = ["--from-image", f"app={location}"]
    assert output("plan-family", f"app={graph}", *bases, "-o", tmp_path / "plans") == (
        "1 image, 0 layers, 0 of them different\n"
    )


def test_a_spec_on_a_base_after_a_previous_image(
    location: str, layout: Path, tmp_path: Path, sample_spec: Write
) -> None:
    images: list[bytes] = []
    for base in (location, f"oci:{layout}:v1"):
        spec = sample_spec(
            tmp_path,
            from_image={"path": base},
            layering={"strategy": "stable", "previous": base},
            extra_commands="touch new",
            # These say where the base image was.
            default_annotations=False,
        )
        images.append(build(spec, f"image-{len(images)}.tar", "archive").read_bytes())
    assert images[0] == images[1]


# What is fetched.


def test_inspecting_quickly_fetches_no_layer(fake: FakeRegistry, remote: str) -> None:
    assert "as registry" in output("inspect", remote, "--quick")
    assert fetched(fake) == (1, 1)


def test_a_previous_image_with_a_memory_takes_two_requests(
    fake: FakeRegistry, remote: str, tmp_path: Path
) -> None:
    output("plan", tmp_path / "graph.json", "--previous", remote)
    assert content_requests(fake) == 2
    assert fetched(fake) == (1, 1)


def test_a_spec_after_a_previous_image_takes_two_requests(
    fake: FakeRegistry, remote: str, tmp_path: Path, sample_spec: Write
) -> None:
    spec = sample_spec(tmp_path, layering={"strategy": "stable", "previous": remote})
    output("resolve", spec, "-o", tmp_path / "resolved.json")
    assert content_requests(fake) == 2


@pytest.mark.parametrize("compression", ["none", "gzip"])
@pytest.mark.parametrize("extra_commands", ["", "touch new"])
def test_a_base_is_fetched_once(
    fake: FakeRegistry, tmp_path: Path, sample_spec: Write, compression: str, extra_commands: str
) -> None:
    """To find its store paths, to resolve its links, and to pass it on."""
    base = build(sample_spec(tmp_path), "layout", compression=compression)
    digest = fill(fake, REPOSITORY, base, "v1")
    place = f"docker://{fake.host}/{REPOSITORY}"
    spec = sample_spec(tmp_path, from_image={"path": f"{place}:v1"}, extra_commands=extra_commands)
    build(spec, "on-base.tar", "archive")
    layers = layer_requests(fake)
    assert len(layers) == len(set(layers)) == 5
    output("resolve", spec, "-o", tmp_path / "resolved.json")
    resolved = json.loads((tmp_path / "resolved.json").read_bytes())
    assert resolved["from_image"] == {"path": f"{place}:v1@{digest}"}
    # The tag may move: what was resolved stays.
    fake.tags[REPOSITORY]["v1"] = "sha256:" + "0" * 64
    again = build(tmp_path / "resolved.json", "again.tar", "archive").read_bytes()
    assert again == (tmp_path / "on-base.tar").read_bytes()


def changed(tmp_path: Path, sample_spec: Write, **changes: Any) -> Path:
    """Write the spec of the next version: the app is another one, libc is the same."""
    spec = sample_spec(tmp_path, layering={"strategy": "stable"}, **changes)
    graph = tmp_path / "graph.json"
    text = graph.read_text()
    old, new = (f"/nix/store/{letter * 32}-app" for letter in "df")
    if not (tmp_path / f"root{new}").exists():
        (tmp_path / f"root{old}").rename(tmp_path / f"root{new}")
    graph.write_text(text.replace(old, new))
    spec.write_text(spec.read_text().replace(old, new))
    return spec


def test_a_diff_of_images_with_memories_reads_no_layer(
    fake: FakeRegistry, remote: str, layout: Path, tmp_path: Path, sample_spec: Write
) -> None:
    other = build(changed(tmp_path, sample_spec, nix_db=True), "other")
    fill(fake, REPOSITORY, other, "v2")
    found = json.loads(output("diff", remote, remote.replace(":v1", ":v2"), "--json"))
    assert fetched(fake) == (2, 2)
    assert content_requests(fake) == 4
    expected = json.loads(output("diff", layout, other, "--json"))
    for document in (found, expected):
        # The layers' tars, which only a reader knows, tell more.
        del document["view"]
        for side in ("old", "new"):
            del document[side]["origin"]
    # A memory has only the start of each hash.
    text = re.sub(r"/nix/store/(.{8}).{24}-", r"/nix/store/\1-", json.dumps(found))
    assert text == re.sub(r"/nix/store/(.{8}).{24}-", r"/nix/store/\1-", json.dumps(expected))


def test_a_diff_completes_hashes_from_the_other_side(
    fake: FakeRegistry, remote: str, layout: Path, tmp_path: Path, sample_spec: Write
) -> None:
    other = build(changed(tmp_path, sample_spec), "other")
    found = json.loads(output("diff", remote, other, "--json"))
    expected = json.loads(output("diff", layout, other, "--json"))
    for document in (found, expected):
        del document["view"], document["old"]["origin"]
    # Only the store path that is gone is known by the start of its hash alone.
    start, rest = "/nix/store/" + "d" * 8, "-app"
    text = json.dumps(found).replace(f"{start}{'0' * 24}{rest}", f"{start}{'d' * 24}{rest}")
    assert text == json.dumps(expected)


def test_a_diff_reads_the_layers_that_no_memory_explains(
    fake: FakeRegistry, remote: str, layout: Path, tmp_path: Path, sample_spec: Write
) -> None:
    base = build(sample_spec(tmp_path, closure=None, contents=[]), "base")
    spec = sample_spec(
        tmp_path, layering={"strategy": "stable"}, from_image={"path": f"oci:{base}"}
    )
    fill(fake, REPOSITORY, build(spec, "on-base"), "v2")
    found = json.loads(output("diff", remote, remote.replace(":v1", ":v2"), "--json"))
    expected = json.loads(output("diff", layout, tmp_path / "on-base", "--json"))
    assert found["paths"] == expected["paths"]
    (lowest,) = json.loads((base / "index.json").read_bytes())["manifests"]
    manifest = json.loads(fake_blob(base, lowest["digest"]))
    blobs = [each.path.rpartition("/")[2] for each in fake.requests("GET", "/blobs/")]
    configs = [json.loads(x.data)["config"]["digest"] for x in fake.manifests[REPOSITORY].values()]
    assert {*blobs} - {*configs} == {layer["digest"] for layer in manifest["layers"]}


def fake_blob(layout: Path, digest: str) -> bytes:
    return (layout / "blobs/sha256" / digest.removeprefix("sha256:")).read_bytes()


# Indexes.


@pytest.fixture
def index(fake: FakeRegistry, tmp_path: Path, sample_spec: Write, sample_image: Write) -> str:
    """The location of an index with images for two platforms."""
    sample_spec(tmp_path)
    images = {
        architecture: sample_image(
            tmp_path / architecture, "oci-layout", "none", architecture=architecture
        )
        for architecture in ("arm64", "amd64")
    }
    fill_index(fake, REPOSITORY, "all", images)
    return f"docker://{fake.host}/{REPOSITORY}:all"


def test_an_index_resolves_by_platform(fake: FakeRegistry, index: str, tmp_path: Path) -> None:
    for options, architecture in (([], "amd64"), (["--platform", "linux/arm64"], "arm64")):
        fake.log.clear()
        for command in ("export", "merge"):
            output(command, index, "-o", tmp_path / f"{command}.tar", *options)
        (image,) = nixdock.inspect_image(tmp_path / "merge.tar").images
        assert image.architecture == architecture
        # The index and one manifest, each time.
        assert len(fake.requests("GET", "/manifests/")) == 4


@pytest.mark.parametrize(
    "command",
    [
        ["plan", "graph.json", "--previous"],
        ["db", "graph.json", "-o", "out", "--base"],
        ["diff", "arm64"],
        ["export", "-o", "out"],
        ["merge", "-o", "out"],
    ],
    ids=lambda words: words[0],
)
def test_only_the_image_for_the_platform_is_fetched(
    fake: FakeRegistry,
    index: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    output(*command, index, "--platform", "linux/arm64")
    # The index and one manifest.
    assert len(fake.requests("GET", "/manifests/")) == 2


def test_inspect_lists_an_index(fake: FakeRegistry, index: str) -> None:
    images = json.loads(output("inspect", index, "--quick", "--json"))["images"]
    assert [image["architecture"] for image in images] == ["arm64", "amd64"]
    assert fetched(fake) == (3, 2)
    fake.log.clear()
    options = ["--quick", "--json", "--platform", "linux/arm64"]
    (image,) = json.loads(output("inspect", index, *options))["images"]
    assert image["architecture"] == "arm64"
    assert fetched(fake) == (2, 1)


def test_inspect_selects_a_platform_of_a_file(layout: Path) -> None:
    (image,) = nixdock.inspect_image(layout, quick=True, platform="linux/amd64").images
    assert image.architecture == "amd64"
    with pytest.raises(InputError, match="has no image for linux/arm64; it has images for"):
        nixdock.inspect_image(layout, quick=True, platform="linux/arm64")


def test_every_image_of_an_index_is_verified(index: str) -> None:
    assert output("verify", index).startswith("ok: registry, 2 images, 10 layers, ")


def test_a_base_for_a_platform_of_an_index(index: str, tmp_path: Path, sample_spec: Write) -> None:
    spec = sample_spec(tmp_path, from_image={"path": index}, architecture="arm64")
    output("resolve", spec, "-o", tmp_path / "resolved.json")
    pinned = json.loads((tmp_path / "resolved.json").read_bytes())["from_image"]["path"]
    (image,) = nixdock.inspect_image(pinned, quick=True).images
    assert image.architecture == "arm64"
    assert image.digest == pinned.rpartition("@")[2]


def test_names_are_tags(fake: FakeRegistry, remote: str) -> None:
    (image,) = nixdock.inspect_image(remote, quick=True).images
    assert image.tags == (f"{fake.host}/{REPOSITORY}:v1",)
    place = f"docker://{fake.host}/{REPOSITORY}"
    (image,) = nixdock.inspect_image(f"{place}@{image.digest}", quick=True).images
    assert image.tags == ()
    assert output("verify", f"{place}@{image.digest}").startswith("ok: registry, 1 image, ")
    (image,) = nixdock.inspect_image(f"{place}:v1@{image.digest}", quick=True).images
    assert image.tags == (f"{fake.host}/{REPOSITORY}:v1",)


# Errors.


def test_a_missing_layer_is_a_problem_of_the_image(fake: FakeRegistry, remote: str) -> None:
    manifest = json.loads(next(iter(fake.manifests[REPOSITORY].values())).data)
    missing = manifest["layers"][0]["digest"]
    del fake.blobs[REPOSITORY][missing]
    result = nixdock.verify_image(remote)
    (problem,) = result.problems
    assert f"the blob {missing}: " in str(problem)
    assert error("verify", remote) == f"1 problem in {remote}"
    with pytest.raises(ImageError, match=f"the blob {missing}: "):
        nixdock.inspect_image(remote)
    with pytest.raises(ImageError, match=f"the blob {missing}: "):
        nixdock.export_image(remote, lambda _: None)


def test_a_missing_config_is_a_problem_of_the_image(fake: FakeRegistry, remote: str) -> None:
    manifest = json.loads(next(iter(fake.manifests[REPOSITORY].values())).data)
    missing = manifest["config"]["digest"]
    del fake.blobs[REPOSITORY][missing]
    assert any(f"the blob {missing}: " in str(x) for x in nixdock.verify_image(remote).problems)


def test_a_damaged_layer_is_a_problem_of_the_image(fake: FakeRegistry, remote: str) -> None:
    manifest = json.loads(next(iter(fake.manifests[REPOSITORY].values())).data)
    layer = manifest["layers"][0]
    fake.tampered[layer["digest"]] = bytes(layer["size"])
    assert [x for x in nixdock.verify_image(remote).problems if "digest" in str(x)]
    with pytest.raises(ImageError):
        nixdock.inspect_image(remote)


def test_other_errors_of_a_registry_end_the_command(fake: FakeRegistry, remote: str) -> None:
    fake.faults.append(Fault("GET", "/blobs/", times=100, skip=1, status=403))
    with pytest.raises(RegistryError):
        nixdock.verify_image(remote)


def test_a_missing_tag(fake: FakeRegistry, remote: str) -> None:
    name = f"{fake.host}/{REPOSITORY}"
    with pytest.raises(RegistryError) as raised:
        nixdock.inspect_image(f"docker://{name}:v9")
    assert str(raised.value) == f"{name} has no image v9; `nixdock tags {name}` lists those it has"
    assert raised.value.status == 404


def test_no_network_within_a_nix_build(monkeypatch: pytest.MonkeyPatch, remote: str) -> None:
    monkeypatch.setenv("NIX_BUILD_TOP", "/build")
    monkeypatch.delenv("IN_NIX_SHELL", raising=False)
    monkeypatch.setattr(socket, "if_nameindex", lambda: [(1, "lo")])
    assert error("inspect", "docker://registry.example/x:1") == (
        "docker://registry.example/x:1 can't be read within a Nix build, which has no network;"
        " fetch the image with pullImage, and use the result, such as for fromImage"
    )
    # Loopback can be reached.
    output("inspect", "--quick", remote)


def test_a_location_that_is_none_is_wrong_usage(tmp_path: Path) -> None:
    for words in (
        ["inspect", "docker://a b"],
        ["verify", "docker-daemon:x:1"],
        ["export", "oci:"],
        ["merge", "oci:", "-o", "x"],
        ["diff", "oci:", "x"],
        ["plan", "graph.json", "--previous", "oci:"],
        ["db", "graph.json", "--base", "oci:", "-o", "x"],
    ):
        result = run(*words)
        assert result.exit_code == 2
        assert result.output.startswith("Usage: ")
    assert "Error: Invalid value for 'IMAGE': docker-daemon:x:1 is a location of skopeo that" in (
        run("verify", "docker-daemon:x:1").output
    )


def test_a_reference_that_is_taken_for_a_path(tmp_path: Path) -> None:
    missing = "No such file or directory"
    hint = "if this is an image in a registry, write docker://a/b:v1"
    for words, message in (
        (["inspect", "a/b:v1"], f"can't open a/b:v1: {missing}; {hint}"),
        (["diff", "a/b:v1", "x"], f"can't read a/b:v1: {missing}; {hint}"),
    ):
        assert error(*words) == message
    with pytest.raises(InputError) as raised:
        # On the command line, a host would tell that it is a reference.
        nixdock.read_previous("ghcr.io/a/b:v1")
    hint = hint.replace("a/b", "ghcr.io/a/b")
    assert str(raised.value) == f"can't read the previous plan ghcr.io/a/b:v1: {missing}; {hint}"
    assert error("inspect", "a/b.tar") == f"can't open a/b.tar: {missing}"


def test_a_path_is_never_parsed(
    tmp_path: Path, layout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    layout.rename("oci:v1")
    assert nixdock.inspect_image(Path("oci:v1"), quick=True).images
    assert nixdock.inspect_image(nixdock.FileLocation(Path("oci:v1")), quick=True).images
    assert output("inspect", "./oci:v1", "--quick")


def test_a_location_that_holds_something_else(layout: Path) -> None:
    assert error("inspect", f"oci-archive:{layout}") == (
        f"{layout} is an image in the form oci-layout, not oci-archive"
    )
    assert error("inspect", f"oci:{layout}:v9") == (
        f"{layout} has no image named v9; the names in it are: x/y:v1"
    )


@pytest.mark.parametrize("compression", ["none", "gzip"])
@pytest.mark.parametrize(
    "command",
    [
        ["inspect"],
        ["verify"],
        ["export", "-o", "out"],
        ["merge", "-o", "out"],
        ["db", "graph.json", "-o", "out", "--base"],
        ["plan-family", "-o", "out", "app=graph.json", "--from-image"],
    ],
)
def test_commands_fetch_every_layer_once(
    fake: FakeRegistry,
    spec: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: list[str],
    compression: str,
) -> None:
    monkeypatch.chdir(spec.parent)
    fill(fake, REPOSITORY, build(spec, "layout", compression=compression), "v1")
    prefix = "app=" if command[0] == "plan-family" else ""
    output(*command, f"{prefix}docker://{fake.host}/{REPOSITORY}:v1")
    layers = layer_requests(fake)
    assert len(layers) == len(set(layers)) == 5


def test_files_need_no_client_of_registries(layout: Path) -> None:
    script = (
        "import sys, nixdock;"
        f"nixdock.inspect_image({str(layout)!r});"
        "print('nixdock.registry.transport' in sys.modules, 'urllib3' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False False\n"


@pytest.mark.parametrize(
    "command",
    [
        ["inspect", "IMAGE", "--quick"],
        ["verify", "IMAGE"],
        ["export", "IMAGE", "-o", "out"],
        ["merge", "IMAGE", "-o", "out"],
        ["diff", "IMAGE", "IMAGE"],
        ["diff", "layout", "graph.json", "--previous", "IMAGE"],
        ["plan", "graph.json", "--previous", "IMAGE"],
        ["plan-family", "app=graph.json", "--from-image", "app=IMAGE", "-o", "out"],
        ["db", "graph.json", "--base", "IMAGE", "-o", "out"],
        ["build", "based.json", "--dry-run", "-q"],
        ["stream", "based.json", "-q"],
        ["resolve", "based.json", "-o", "out"],
        ["top-layer", "based.json", "-o", "out"],
    ],
    ids=lambda words: words[0],
)
def test_every_command_accepts_an_insecure_registry(
    layout: Path, sample_spec: Write, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    """With a certificate of an authority that nobody trusts."""
    directory = layout.parent
    monkeypatch.chdir(directory)
    monkeypatch.setenv("HOME", str(directory))
    with fake_registry(tls=server_context(trustme.CA())) as secure:
        fill(secure, REPOSITORY, layout, "v1")
        location = f"docker://{secure.host}/{REPOSITORY}:v1"
        layering = {"strategy": "stable", "previous": location}
        spec = sample_spec(directory, from_image={"path": location}, layering=layering)
        spec.rename("based.json")
        words = [word.replace("IMAGE", location) for word in command]
        if command[0] == "stream":
            # It needs a real standard output.
            program = [sys.executable, "-m", "nixdock", *words, "--insecure"]
            subprocess.run(program, stdout=subprocess.DEVNULL, check=True)
        else:
            output(*words, "--insecure")
        assert fetched(secure) > (0, 0)
    assert "--insecure" in output(command[0], "--help")
