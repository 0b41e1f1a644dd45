"""`nixdock demo`: the image is built without other programs, and run by an engine if any."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from nixdock.demo import native_architecture, unpacked_closure
from tests.unit.cli import fake_engine
from tests.unit.cli.program import run_text

MANIFESTS = {
    "amd64": "sha256:9aa55278da1e8e8d8161d8a469a8087f5be7750a737d5abf0646bb5dbd0b1ce3",
    "arm64": "sha256:4e8935a02cc191ffea0fbaf52d89b4fc55b19c3cc0c590dacce3b2affd15f662",
}
NOBODY = "65534"


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that is writable by all users, with empty directories `bin` and `tmp`."""
    with tempfile.TemporaryDirectory(prefix="nixdock-") as directory:
        path = Path(directory)
        path.chmod(0o777)
        (path / "bin").mkdir()
        (path / "tmp").mkdir()
        (path / "tmp").chmod(0o777)
        yield path


def nixdock_demo(
    place: Path,
    *args: str,
    env: Mapping[str, str] | None = None,
    umask: int = 0o022,
    as_nobody: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run `nixdock demo` with only the programs in PATH that the test puts into `bin`."""
    base = {
        "PATH": str(place / "bin"),
        "HOME": str(place),
        "TMPDIR": str(place / "tmp"),
    }
    if not as_nobody:
        return run_text("demo", *args, env=base | dict(env or {}), umask=umask, directory=place)
    command = [sys.executable, "-B", "-m", "nixdock", "demo", *args]
    if os.geteuid() == 0:
        setpriv = shutil.which("setpriv")
        assert setpriv, "setpriv is missing: apt-get install util-linux"
        drop = ("--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "--bounding-set=-all")
        command = [setpriv, *drop, *command]
    return subprocess.run(
        command,
        cwd=place,
        env={**base, "PYTHONPATH": str(Path(__file__).parents[3]), **(env or {})},
        umask=umask,
        text=True,
        capture_output=True,
        check=False,
    )


def install(place: Path, kind: str, **state: object) -> Path:
    """Put a fake engine into `bin`; return the file of its state."""
    file = place / "state.json"
    file.write_text(json.dumps({"names": {}, "images": {}, "blobs": [], "log": []} | state))
    program = place / "bin" / kind
    words = shlex.join([sys.executable, "-S", fake_engine.__file__, kind])
    program.write_text(f'#!/bin/sh\nFAKE_ENGINE={file} exec {words} "$@"\n')
    program.chmod(0o755)
    return file


def log_of(state: Path) -> list[list[str]]:
    found: list[list[str]] = json.loads(state.read_text())["log"]
    return found


@pytest.mark.tools
def test_an_unprivileged_user_needs_nothing_but_python(place: Path) -> None:
    done = nixdock_demo(place, "--arch", "amd64", as_nobody=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert (
        done.stdout
        == f"""\
layer  what                       hash     size                            paths  changes with  digest
    1  nixdock-demo-greeting.txt  b9l27s  263 B  ██████▍                       1  itself        6de20c297a2c
    2  nixdock-demo (app)         lg60p5  993 B  ████████████████████████      1  the app       f93b38431839
    3  nixdock-demo-licence       sd60mi  913 B  ██████████████████████▏       1  itself        b4d7c7ada9bf
    4  nixdock-demo-profile       fdqn67  290 B  ███████                       1  the app       77bf063c205a
    5  the image's own files              225 B  █████▌                                         de8d1ed44b5e

image     nixdock-demo:latest (linux/amd64), as archive in demo.tar
manifest  {MANIFESTS["amd64"]}

Not run: there is no runtime to load the image into: docker is not in PATH; podman is not in PATH; \
start Docker or install Podman, or name another one with --into.

What to try next; SPEC is a file that describes an image, see docs/spec.md:
  nixdock run demo.tar                                  # load what is new, and run it
  nixdock copy demo.tar docker://REGISTRY/nixdock-demo  # send what the registry lacks
  nixdock push SPEC REGISTRY/NAME:TAG                   # the same, straight from the store
  nixdock diff demo.tar SPEC                            # what an update transfers, and why
  nixdock inspect demo.tar --html demo.html             # its layers and paths, as a page
"""  # noqa: E501
    )
    assert not list((place / "tmp").iterdir())
    if os.geteuid() == 0:
        assert (place / "demo.tar").stat().st_uid == int(NOBODY)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", sorted(MANIFESTS))
@pytest.mark.parametrize(
    ("umask", "env"),
    [
        (0o022, {}),
        (0o077, {"TZ": "Asia/Kolkata", "PYTHONHASHSEED": "1"}),
        (0o000, {"TZ": "America/St_Johns", "LC_ALL": "C", "NIX_BUILD_CORES": "1"}),
    ],
)
def test_the_image_is_the_same_everywhere(
    place: Path, architecture: str, umask: int, env: dict[str, str]
) -> None:
    done = nixdock_demo(place, "--no-run", "--arch", architecture, env=env, umask=umask)
    assert done.returncode == 0, done.stderr
    assert f"manifest  {MANIFESTS[architecture]}\n" in done.stdout
    with tarfile.open(place / "demo.tar") as archive:
        index = archive.extractfile("index.json")
        assert index is not None
        (descriptor,) = json.load(index)["manifests"]
    assert descriptor["digest"] == MANIFESTS[architecture]
    assert descriptor["platform"] == {"architecture": architecture, "os": "linux"}


def read_blob(archive: tarfile.TarFile, digest: str) -> bytes:
    member = archive.extractfile(f"blobs/{digest.replace(':', '/')}")
    assert member is not None
    return member.read()


def unpack_image(file: Path, root: Path) -> dict[str, object]:
    """Unpack an image's layers and return its container config."""
    with tarfile.open(file) as archive:
        index = archive.extractfile("index.json")
        assert index is not None
        manifest = json.loads(read_blob(archive, json.load(index)["manifests"][0]["digest"]))
        for descriptor in manifest["layers"]:
            layer = root.with_name("layer.tar")
            layer.write_bytes(read_blob(archive, descriptor["digest"]))
            subprocess.run(["tar", "-xpf", layer, "-C", root], check=True, stderr=subprocess.PIPE)
        config: dict[str, object] = json.loads(read_blob(archive, manifest["config"]["digest"]))
    container = config["config"]
    assert isinstance(container, dict)
    return container


@pytest.mark.tools
def test_the_unpacked_image_holds_the_closure_and_runs(place: Path) -> None:
    assert nixdock_demo(place, "--no-run").returncode == 0
    root = place / "root"
    root.mkdir()
    container = unpack_image(place / "demo.tar", root)
    with unpacked_closure(native_architecture()) as closure:
        assert container["Entrypoint"] == [closure.program]
        assert os.readlink(root / "bin") == closure.program.rpartition("/")[0]
        for info in closure.closure:
            assert listing(root, info.path) == listing(closure.root, info.path)
    user = () if os.geteuid() == 0 else ("--map-root-user",)
    try:
        done = subprocess.run(
            ["unshare", *user, "--fork", "chroot", root, "/bin/nixdock-demo", "again"],
            text=True,
            capture_output=True,
            check=False,
        )
    finally:
        subprocess.run(["chmod", "-R", "u+w", root], check=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Hello from a Nix closure")
    assert "\narguments  again\n" in done.stdout


def listing(root: Path, path: str) -> list[tuple[str, int, bytes]]:
    top = Path(f"{root}{path}")
    found = []
    for file in sorted([top, *top.rglob("*")]):
        mode = file.lstat().st_mode
        data = b""
        if stat.S_ISLNK(mode):
            data = os.fsencode(os.readlink(file))
        elif stat.S_ISREG(mode):
            data = file.read_bytes()
        found.append((str(file.relative_to(root)), mode, data))
    return found


@pytest.mark.parametrize(
    ("form", "target"),
    [
        ("archive", "demo.tar"),
        ("docker-archive", "demo.tar"),
        ("oci-archive", "demo.tar"),
        ("oci-layout", "demo.oci"),
    ],
)
def test_every_format(place: Path, form: str, target: str) -> None:
    install(place, "docker")
    done = nixdock_demo(place, "--run", "--arch", "amd64", "--format", form)
    assert (done.returncode, done.stderr) == (0, "")
    assert (place / target).exists()
    assert f"  nixdock run {target}" in done.stdout
    assert (MANIFESTS["amd64"] in done.stdout) == (form != "docker-archive")
    assert ("config    sha256:" in done.stdout) == (form == "docker-archive")
    assert "Loaded into docker as nixdock-demo:latest, and run:\n\nran " in done.stdout


def test_printed_commands_are_quoted(place: Path) -> None:
    done = nixdock_demo(place, "--no-run", "-o", "my demo.tar")
    assert "  nixdock run 'my demo.tar'" in done.stdout


def test_an_image_that_can_not_be_written_is_a_failure(place: Path) -> None:
    done = nixdock_demo(place, "-o", "missing/demo.tar")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("kind", ["docker", "podman"])
def test_a_runtime_that_answers_runs_the_image(place: Path, kind: str) -> None:
    state = install(place, kind)
    done = nixdock_demo(place)
    assert (done.returncode, done.stderr) == (0, "")
    # Podman may know another image by the short name.
    name = f"{'localhost/' if kind == 'podman' else ''}nixdock-demo:latest"
    ran = f"ran --rm --interactive --pull=never --network=none {name}"
    assert f"\n\nLoaded into {kind} as {name}, and run:\n\n{ran}\n" in done.stdout
    commands = [words[0] for words in log_of(state)]
    # Docker may have a part of the image.
    listing = ["image"] if kind == "docker" else []
    assert commands == ["version", *listing, "pull", "tag", "rmi", "version", "run"]


@pytest.mark.parametrize(
    ("command", "outcome"),
    [
        ("tag", "Not run"),
        ("run", "Loaded into docker as nixdock-demo:latest, but not run"),
    ],
)
def test_a_runtime_that_refuses_is_not_a_failure(place: Path, command: str, outcome: str) -> None:
    install(place, "docker", fails=[command])
    done = nixdock_demo(place)
    assert done.returncode == 0
    refusal = f"docker {command} failed: the daemon refuses to {command}"
    assert f"\n\n{outcome}: {refusal}.\n\nWhat to try next" in done.stdout


def test_a_runtime_that_does_not_answer(place: Path) -> None:
    install(place, "docker", fails=["version"])
    done = nixdock_demo(place)
    assert done.returncode == 0
    assert "Not run: there is no runtime to load the image into: docker version" in done.stdout


def test_no_run_calls_no_runtime(place: Path) -> None:
    state = install(place, "docker")
    done = nixdock_demo(place, "--no-run")
    assert done.returncode == 0
    assert "run:" not in done.stdout.partition("What to try next")[0]
    assert log_of(state) == []


@pytest.mark.slow
def test_an_image_for_another_architecture_runs_only_on_request(place: Path) -> None:
    state = install(place, "docker")
    foreign = "amd64" if os.uname().machine == "aarch64" else "arm64"
    assert f"Not run: the image is for {foreign}" in nixdock_demo(place, "--arch", foreign).stdout
    assert log_of(state) == []
    assert "Loaded into docker" in nixdock_demo(place, "--arch", foreign, "--run").stdout
