"""`nixdock push` and `copy` of specs: what they print, and how they exit."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.runtime.command import wait_until
from tests.unit.cli.program import PROGRAM, environment
from tests.unit.registry.fake_registry import FakeRegistry, Fault, fake_registry

SampleSpec = Callable[..., Path]


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with fake_registry() as registry:
        yield registry


def nixdock(home: Path, *args: str | Path, stdin: str = "") -> tuple[int, str, str]:
    env = environment(HOME=str(home), XDG_CACHE_HOME=str(home), XDG_RUNTIME_DIR=str(home))
    command = [*PROGRAM, *map(str, args)]
    done = subprocess.run(
        command, input=stdin, text=True, capture_output=True, check=False, timeout=120, env=env
    )
    return done.returncode, done.stdout, done.stderr


def test_a_push(sample_spec: SampleSpec, tmp_path: Path, fake: FakeRegistry) -> None:
    spec = sample_spec(tmp_path)
    names = [f"{fake.host}/a:1", f"{fake.host}/b"]
    file = tmp_path / "digest"
    status, out, err = nixdock(tmp_path, "push", spec, *names, "--digest-file", file)
    digest = fake.tags["a"]["1"]
    assert status == 0
    assert out == f"{fake.host}/a@{digest}\n{fake.host}/b@{digest}\n"
    assert file.read_text() == f"{digest}\n"
    assert "5 layers: 5 uploaded; sent " in err.splitlines()[-1]

    status, out, err = nixdock(tmp_path, "push", spec, *names, "--json")
    found = json.loads(out)
    assert (found["digest"], found["bytes_sent"]) == (digest, 0)
    assert found["references"] == [f"{fake.host}/a@{digest}", f"{fake.host}/b@{digest}"]
    assert [layer["outcome"] for layer in found["layers"]] == ["known"] * 5
    assert found["layers"][0]["outcomes"] == {f"{fake.host}/a": "known", f"{fake.host}/b": "known"}
    assert found["seconds"] >= 0
    assert "5 layers: 5 known; sent 0 B in 5 requests, " in err


def layer_digests(fake: FakeRegistry, home: Path, *args: str | Path) -> list[str]:
    status, out, err = nixdock(home, "push", "--json", "--no-cache", *args)
    assert status == 0, err
    return [layer["digest"] for layer in json.loads(out)["layers"]]


def test_a_push_continues_the_plan_of_the_image_that_it_replaces(
    sample_spec: SampleSpec, tmp_path: Path, fake: FakeRegistry
) -> None:
    a, b, c, d = (f"{fake.host}/{name}" for name in "abcd")
    few = layer_digests(fake, tmp_path, sample_spec(tmp_path, layering={}, max_layers=3), a)
    assert len(few) == 3
    spec = sample_spec(tmp_path, layering={})
    apart = layer_digests(fake, tmp_path, spec, b)
    assert len(apart) == 5
    # The layers are whole, so they are kept although there could be more.
    assert layer_digests(fake, tmp_path, spec, a) == few
    # Of several images that are replaced, each counts.
    assert layer_digests(fake, tmp_path, spec, a, b, c) == few
    assert layer_digests(fake, tmp_path, spec, f"{a}:new") == apart
    assert layer_digests(fake, tmp_path, spec, f"{a}:new", "--previous", f"docker://{c}") == few
    assert layer_digests(fake, tmp_path, spec, a, "--no-previous") == apart
    both = {"previous": [f"docker://{c}", f"docker://{b}"]}
    assert layer_digests(fake, tmp_path, sample_spec(tmp_path, layering=both), d) == few


def test_a_diff_with_the_image_that_is_replaced_tells_what_is_sent(
    sample_spec: SampleSpec, tmp_path: Path, fake: FakeRegistry
) -> None:
    place = f"{fake.host}/a"
    layer_digests(fake, tmp_path, sample_spec(tmp_path, layering={}, max_layers=3), place)
    spec = sample_spec(tmp_path, layering={}, config={"Cmd": ["other"]})
    status, out, err = nixdock(tmp_path, "diff", "--json", f"docker://{place}", spec)
    assert status == 0, err
    nixdock(tmp_path, "push", spec, place)
    assert json.loads(out)["new"]["digest"] == fake.tags["a"]["latest"]


def test_a_damaged_memory_is_no_plan_to_continue(
    sample_spec: SampleSpec, tmp_path: Path, fake: FakeRegistry
) -> None:
    """Of an image that is replaced, no layer is fetched, and the warning promises none."""
    spec, place = sample_spec(tmp_path, layering={}), f"{fake.host}/a"
    resolved, auto = tmp_path / "resolved.json", {"strategy": "auto"}
    nixdock(tmp_path, "resolve", spec, "-o", resolved)

    def damage() -> None:
        manifest = json.loads(fake.manifests["a"][fake.tags["a"]["latest"]].data)
        config = json.loads(fake.blobs["a"][manifest["config"]["digest"]])
        data = json.dumps({**config, "dev.nixdock.memory": {"version": 1}}).encode()
        digest = fake.add_blob("a", data)
        descriptor = {**manifest["config"], "digest": digest, "size": len(data)}
        fake.add_manifest("a", {**manifest, "config": descriptor}, "latest")

    nixdock(tmp_path, "push", spec, place)
    damage()
    status, _, err = nixdock(tmp_path, "push", spec, place)
    assert status == 0
    assert "dev.nixdock.memory is ignored, and the image is planned without it instead" in err
    for planned in (resolved, sample_spec(tmp_path, layering=auto)):
        damage()
        assert "ignored" not in nixdock(tmp_path, "push", planned, place)[2]


def test_the_rest_of_explicit_groups_continues_a_plan(
    sample_spec: SampleSpec, tmp_path: Path, fake: FakeRegistry
) -> None:
    a, b = (f"{fake.host}/{name}" for name in "ab")
    layer_digests(fake, tmp_path, sample_spec(tmp_path, layering={}, max_layers=3), a)
    spec = sample_spec(tmp_path, layering={"strategy": "explicit"})
    few = layer_digests(fake, tmp_path, spec, a)
    assert len(few) == 3
    # The image remembers it, for the next one.
    assert layer_digests(fake, tmp_path, spec, a) == few
    assert layer_digests(fake, tmp_path, spec, b, "--previous", f"docker://{a}") == few
    auto = {"strategy": "explicit", "rest": "auto"}
    assert len(layer_digests(fake, tmp_path, sample_spec(tmp_path, layering=auto), a)) == 5


@pytest.mark.parametrize(
    ("source", "options", "status", "message"),
    [
        ("spec.json", ["--no-previous"], 2, "mutually exclusive"),
        ("resolved.json", [], 2, "whose layers are not yet planned"),
        ("image.tar", [], 2, "is for a spec"),
        ("auto.json", [], 2, "for the layering strategy stable"),
        ("spec.json", [], 1, "/missing has no image latest"),
    ],
)
def test_where_there_is_no_plan_to_continue(
    sample_spec: SampleSpec,
    tmp_path: Path,
    fake: FakeRegistry,
    source: str,
    options: list[str],
    status: int,
    message: str,
) -> None:
    if source == "auto.json":
        sample_spec(tmp_path, layering={"strategy": "auto"}).rename(tmp_path / source)
    else:
        spec = sample_spec(tmp_path, layering={})
        nixdock(tmp_path, "resolve", spec, "-o", tmp_path / "resolved.json")
        nixdock(tmp_path, "build", spec, "-o", tmp_path / "image.tar")
    missing = f"docker://{fake.host}/missing"
    command = ["push", str(tmp_path / source), "--previous", missing, *options, f"{fake.host}/a"]
    found, _, err = nixdock(tmp_path, *command)
    assert (found, message in err) == (status, True), err


def test_without_a_destination_the_name_says_where(
    sample_spec: SampleSpec, tmp_path: Path, fake: FakeRegistry
) -> None:
    spec = sample_spec(tmp_path, name=f"{fake.host}/own/name", tag="v7")
    status, out, _ = nixdock(tmp_path, "push", "-q", spec)
    assert status == 0
    assert out == f"{fake.host}/own/name@{fake.tags['own/name']['v7']}\n"


def test_an_image_that_exists(sample_spec: SampleSpec, tmp_path: Path, fake: FakeRegistry) -> None:
    spec, image = sample_spec(tmp_path), tmp_path / "image.tar"
    assert nixdock(tmp_path, "build", spec, "-o", image)[0] == 0
    status, out, err = nixdock(tmp_path, "push", image, f"{fake.host}/a")
    assert (status, out) == (0, f"{fake.host}/a@{fake.tags['a']['latest']}\n")
    assert "5 layers: 5 uploaded; sent " in err
    status, _, err = nixdock(tmp_path, "push", image)
    assert (status, err.splitlines()[-1]) == (2, "error: an image that exists needs a DEST")


def test_a_refused_push(sample_spec: SampleSpec, tmp_path: Path, fake: FakeRegistry) -> None:
    fake.accounts.kind = "basic"
    fake.accounts.passwords["user"] = "secret"
    status, out, err = nixdock(tmp_path, "push", "-q", sample_spec(tmp_path), f"{fake.host}/a")
    assert (status, out) == (1, "")
    assert err.startswith(f"error: {fake.host}/a: ")
    assert f"nixdock login {fake.host}" in err
    fake.accounts.kind = "open"
    fake.faults.append(Fault("PUT", "manifests", times=99, status=413))
    status, _, err = nixdock(tmp_path, "push", "-q", sample_spec(tmp_path), f"{fake.host}/a")
    assert status == 1
    assert "413" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a b"], "'a b' is not an image reference"),
        ([f"a@sha256:{'0' * 64}"], "names a digest"),
        (["a", "--reuse", "x y"], "'x y' is not an image reference"),
        (["a", "--compression", "xz"], "xz"),
    ],
)
def test_wrong_arguments(
    sample_spec: SampleSpec, tmp_path: Path, arguments: list[str], message: str
) -> None:
    status, out, err = nixdock(tmp_path, "push", sample_spec(tmp_path), *arguments)
    assert (status, out) == (2, "")
    assert message in err


def test_a_spec_is_copied_to_any_location(
    sample_spec: SampleSpec, tmp_path: Path, fake: FakeRegistry
) -> None:
    spec = sample_spec(tmp_path)
    status, pushed, _ = nixdock(tmp_path, "copy", "-q", spec, f"docker://{fake.host}/a:1")
    digest = fake.tags["a"]["1"]
    assert (status, pushed) == (0, f"{fake.host}/a@{digest}\n")
    for place, wanted, name in (
        (f"oci:{tmp_path}/layout", ":v9", "x/y:v9"),
        (f"oci-archive:{tmp_path}/one.tar", ":v9", "x/y:v9"),
        (f"docker-archive:{tmp_path}/two.tar", ":z:v9", "z:v9"),
        (f"{tmp_path}/three.tar", "", "x/y:v1"),
    ):
        status, out, _ = nixdock(tmp_path, "copy", "-q", spec, place + wanted)
        assert status == 0
        assert (out == f"{digest}\n") == ("docker-archive" not in place)
        shown = nixdock(tmp_path, "inspect", "--json", "--quick", place)[1]
        assert json.loads(shown)["images"][0]["tags"] == [name]


def test_a_user_name_for_one_command(
    sample_spec: SampleSpec, tmp_path: Path, fake: FakeRegistry
) -> None:
    fake.accounts.kind = "token"
    fake.accounts.passwords["user"] = "the-secret"
    spec = sample_spec(tmp_path)
    words = ("-v", "--debug", "push", spec, f"{fake.host}/a", "--username", "user")
    for password, expected in (("other-secret", 1), ("the-secret", 0)):
        status, out, err = nixdock(tmp_path, *words, "--password-stdin", stdin=f"{password}\n")
        assert status == expected
        assert password not in out + err
        assert all(issued.token not in out + err for issued in fake.accounts.issued)
    status, _, err = nixdock(tmp_path, *words)
    assert (status, "belong together" in err) == (2, True)

    with fake_registry() as second:
        second.accounts = fake.accounts
        both = ("push", "-q", spec, f"{fake.host}/a", f"{second.host}/b", "--username", "user")
        status, _, err = nixdock(tmp_path, *both, "--password-stdin", stdin="the-secret")
        assert status == 2
        assert "want credentials" in err
        assert second.blobs == {}


def test_a_dry_run_of_a_build_reads_nothing_that_is_known(
    sample_spec: SampleSpec, tmp_path: Path, fake: FakeRegistry
) -> None:
    spec = sample_spec(tmp_path, contents=[], config={})
    dry_run = ("build", "-q", "--dry-run", spec)
    _, packed, _ = nixdock(tmp_path, *dry_run, "--no-cache")
    assert nixdock(tmp_path, "push", "-q", spec, f"{fake.host}/a", "--no-cache")[0] == 0
    (tmp_path / "root/nix").rename(tmp_path / "away")
    status, _, err = nixdock(tmp_path, *dry_run)
    assert (status, "does not exist; build or copy it" in err) == (1, True)
    reused = nixdock(tmp_path, *dry_run, "--reuse", f"{fake.host}/a", "--insecure")
    assert reused == (0, packed, "")
    # What only a manifest says does not get into the cache, but what was packed does.
    assert nixdock(tmp_path, *dry_run)[0] == 1
    (tmp_path / "away").rename(tmp_path / "root/nix")
    assert nixdock(tmp_path, *dry_run) == (0, packed, "")
    (tmp_path / "root/nix").rename(tmp_path / "away")
    assert nixdock(tmp_path, *dry_run) == (0, packed, "")
    assert nixdock(tmp_path, *dry_run, "--no-cache")[0] == 1
    (tmp_path / "away").rename(tmp_path / "root/nix")

    target = ("build", "-q", spec, "-o", tmp_path / "image.tar")
    status, out, err = nixdock(tmp_path, *target, "--reuse", f"{fake.host}/a")
    assert (status, out, err.splitlines()[-1]) == (2, "", "error: --reuse is for --dry-run")


def test_builds_teach_the_cache(sample_spec: SampleSpec, tmp_path: Path) -> None:
    spec = sample_spec(tmp_path, contents=[], config={})
    build = ("build", "-q", spec, "-o", tmp_path / "image.tar")
    cache = tmp_path / "nixdock/layers"
    assert nixdock(tmp_path, *build, "--no-cache")[0] == 0
    assert not cache.exists()
    assert nixdock(tmp_path, *build)[0] == 0
    assert len(list(cache.iterdir())) == 5


def test_a_spec_is_inspected_and_compared(
    sample_spec: SampleSpec, tmp_path: Path, fake: FakeRegistry
) -> None:
    # Where `/bin/app` leads, only reading the image tells.
    command = f"/nix/store/{'d' * 32}-app/bin/app"
    spec = sample_spec(tmp_path, config={"Cmd": [command]})
    image = tmp_path / "image.tar"
    assert nixdock(tmp_path, "push", "-q", spec, f"{fake.host}/a")[0] == 0
    assert nixdock(tmp_path, "build", "-q", spec, "-o", image)[0] == 0
    status, table, err = nixdock(tmp_path, "inspect", spec)
    _, of_image, _ = nixdock(tmp_path, "inspect", image, "--graph", tmp_path / "graph.json")
    assert (status, err) == (0, "")
    # Of layers that are known and not read, the uncompressed size is not.
    of_image = re.sub(" from [0-9.]+ kB", "", of_image)
    assert table == of_image.replace("as archive", "as spec")
    stdin = spec.read_text().replace("graph.json", str(tmp_path / "graph.json"))
    assert nixdock(tmp_path, "inspect", "-", stdin=stdin) == (0, table, "")

    _, quick, _ = nixdock(tmp_path, "inspect", "--quick", "--no-cache", spec)
    assert quick.splitlines()[:2] == [
        "image        x/y:v1 (linux/amd64), as spec",
        "created      1970-01-01T00:00:01Z",
    ]
    assert quick.splitlines()[-5:][0].split() == ["1", "1", "store", "path:", "libc", "?"]
    status, _, err = nixdock(tmp_path, "inspect", image, "--no-cache")
    assert (status, err.splitlines()[-1]) == (
        2,
        (
            "error: --reuse, --no-cache, --store and the options for scripts are for a spec, not"
            " for an image"
        ),
    )

    status, out, _ = nixdock(tmp_path, "diff", f"docker://{fake.host}/a", spec, "--json")
    document = json.loads(out)
    assert (status, document["new"]["kind"], document["old"]["kind"]) == (0, "spec", "image")
    assert document["transfers"]["registry"]["bytes"] == 0
    status, out, _ = nixdock(tmp_path, "diff", f"docker://{fake.host}/a", "-", stdin=stdin)
    assert status == 0
    assert "\nnew  -: spec, " in out


def test_json_that_is_no_spec(tmp_path: Path) -> None:
    graph = tmp_path / "graph.json"
    graph.write_text("[]")
    status, _, err = nixdock(tmp_path, "inspect", graph)
    assert (status, f"{graph} is a reference graph, not a spec" in err) == (2, True)
    (tmp_path / "spec.json").write_text('{"version": 1, "name": "x", "unknown": 1}')
    status, _, err = nixdock(tmp_path, "diff", graph, tmp_path / "spec.json")
    assert (status, "unknown" in err) == (2, True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    "fault",
    [
        Fault("GET", "manifests", cut=0, stall=True),
        Fault("POST", "uploads", times=99, status=503, headers={"Retry-After": "60"}),
        Fault("PUT", "uploads", times=99, cut=0, stall=True),
    ],
    ids=["lookup", "wait", "upload"],
)
def test_an_interrupt_does_not_wait_for_a_registry(
    sample_spec: SampleSpec, tmp_path: Path, fake: FakeRegistry, fault: Fault, number: int
) -> None:
    fake.faults.append(replace(fault))
    spec = sample_spec(tmp_path)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    env = environment(HOME=str(tmp_path), XDG_RUNTIME_DIR=str(tmp_path), TMPDIR=str(temporary))
    command = [*PROGRAM, "push", str(spec), "-q", f"{fake.host}/a"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env) as push:
        wait_until(
            lambda: bool(fake.requests(fault.method, fault.path)), timeout=60, what="a request"
        )
        push.send_signal(number)
        # The registry is silent for a minute.
        _, err = push.communicate(timeout=30)
    is_interrupt = number == signal.SIGINT
    assert push.returncode == (130 if is_interrupt else 143)
    assert err == ("\nerror: interrupted\n" if is_interrupt else "error: terminated\n")
    assert list(temporary.iterdir()) == []
