"""Standard input and output of every kind: files, pipes, sockets, terminals, non-blocking ones."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest

from tests.unit.cli.program import PROGRAM, environment, run

SampleSpec = Callable[..., Path]


def nixdock(
    *arguments: str | Path, stdin: int | None = None, stdout: int | IO[bytes] = subprocess.PIPE
) -> subprocess.CompletedProcess[bytes]:
    if stdin is None and stdout == subprocess.PIPE:
        return run(*arguments)
    return subprocess.run(
        [*PROGRAM, *arguments],
        env=environment(),
        check=False,
        stdin=stdin,
        stdout=stdout,
        stderr=subprocess.PIPE,
    )


@pytest.fixture
def spec(sample_spec: SampleSpec, tmp_path: Path) -> Path:
    return sample_spec(tmp_path)


def graph_of(spec: Path) -> Path:
    name: str = json.loads(spec.read_bytes())["closure"]["graph"]
    return spec.parent / name


@pytest.mark.slow
@pytest.mark.parametrize("form", ["archive", "docker-archive", "oci-archive"])
@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/dev/fd/1"])
def test_an_image_on_standard_output(spec: Path, tmp_path: Path, form: str, name: str) -> None:
    options = ["-q", "--format", form, "--compression", "gzip"]
    in_file = nixdock("build", spec, "-o", tmp_path / "x", *options)
    piped = nixdock("build", spec, "-o", name, *options)
    assert piped.stdout == (tmp_path / "x").read_bytes()
    assert piped.stderr == in_file.stdout, "the digest"


def test_standard_output_in_a_file(spec: Path, tmp_path: Path) -> None:
    with (tmp_path / "log").open("ab") as log:
        log.write(b"before")
        log.flush()
        done = nixdock("build", spec, "-q", "-o", "/dev/stdout", stdout=log)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "log").read_bytes().startswith(b"beforeblobs/")
    assert Path("/dev/stdout").is_symlink()
    assert not [name for name in os.listdir("/dev") if "nixdock" in name]


def test_a_directory_can_not_be_standard_output(spec: Path) -> None:
    done = nixdock("build", spec, "-q", "-o", "-", "--format", "oci-layout")
    assert done.returncode == 1
    assert done.stderr == b"error: /dev/stdout can't become a directory; name another\n"


def test_documents_on_standard_output(spec: Path, tmp_path: Path) -> None:
    graph = graph_of(spec)
    for command in (("plan", graph), ("resolve", spec)):
        assert nixdock(*command, "-o", tmp_path / "file").returncode == 0
        piped = nixdock(*command, "-o", "-")
        assert piped.stdout == (tmp_path / "file").read_bytes()
    both = nixdock("resolve", spec, "-o", "-", "--plan", "/dev/stdout")
    assert both.returncode == 2
    assert both.stderr.endswith(b"error: the spec and the plan can't both go to standard output\n")


def test_characters_that_the_encoding_lacks(sample_spec: SampleSpec, tmp_path: Path) -> None:
    spec = sample_spec(tmp_path, config={"Labels": {"city": "Z\u00fcrich \u82cf\u9ece\u4e16"}})
    done = subprocess.run(
        [*PROGRAM, "inspect", "--quick", spec],
        env=environment(PYTHONUTF8="0", PYTHONIOENCODING="latin-1"),
        check=False,
        capture_output=True,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"city=Z\xfcrich \\u82cf\\u9ece\\u4e16\n" in done.stdout


def test_other_images_on_standard_output(spec: Path, tmp_path: Path) -> None:
    image = tmp_path / "image"
    assert nixdock("build", spec, "-q", "-o", image).returncode == 0
    for command in (("export", image), ("merge", image)):
        assert nixdock(*command, "-o", tmp_path / "file").returncode == 0
        piped = nixdock(*command, "-o", "-")
        assert hashlib.sha256(piped.stdout).digest() == (
            hashlib.sha256((tmp_path / "file").read_bytes()).digest()
        )


@pytest.mark.parametrize("command", ["build", "export", "merge"])
def test_a_terminal_gets_no_archive(spec: Path, command: str) -> None:
    ours, theirs = pty.openpty()
    try:
        done = nixdock(command, spec, "-o", "-", stdout=theirs)
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == 2
    message = b"error: standard output is a terminal; name a file with -o, or use a pipe\n"
    assert done.stderr.endswith(message)


@pytest.mark.parametrize("kind", ["socket", "slow pipe"])
def test_standard_input(spec: Path, kind: str) -> None:
    data = graph_of(spec).read_bytes()
    if kind == "socket":
        theirs, ours = (end.detach() for end in socket.socketpair())
    else:
        theirs, ours = os.pipe()
        os.set_blocking(theirs, False)

    def write() -> None:
        time.sleep(0.5)
        os.write(ours, data)
        os.close(ours)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        done = nixdock("plan", "-", "--json", stdin=theirs)
    finally:
        writer.join()
        os.close(theirs)
    assert done.returncode == 0, done.stderr
    of_file = nixdock("plan", graph_of(spec), "--json").stdout
    assert done.stdout == of_file.replace(bytes(graph_of(spec)), b"standard input")


@pytest.mark.parametrize("kind", ["archive", "text"])
def test_standard_output_that_does_not_block(spec: Path, kind: str) -> None:
    """A reader that starts late gets everything from a descriptor that does not block."""
    command = ("stream", spec, "-q") if kind == "archive" else ("schema",)
    ours, theirs = socket.socketpair()
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    theirs.setblocking(False)
    received = bytearray()

    def read() -> None:
        time.sleep(0.7)
        while chunk := ours.recv(1 << 16):
            received.extend(chunk)

    reader = threading.Thread(target=read)
    reader.start()
    done = nixdock(*command, stdout=theirs.fileno())
    theirs.close()
    reader.join()
    ours.close()
    assert done.returncode == 0, done.stderr
    assert bytes(received) == nixdock(*command).stdout


def closing(descriptor: int, *arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    """Run nixdock without one of the standard streams."""
    script = f'exec "$@" {descriptor}>&-'
    return subprocess.run(
        ["sh", "-c", script, "sh", *PROGRAM, *arguments],
        env=environment(),
        check=False,
        capture_output=True,
    )


@pytest.mark.parametrize("descriptor", [0, 1, 2])
def test_a_closed_stream(sample_spec: SampleSpec, tmp_path: Path, descriptor: int) -> None:
    """What is opened instead of it, such as a connection, must not get its descriptor."""
    spec = sample_spec(tmp_path, extra_commands="cat; echo said; echo complained >&2")
    image = tmp_path / "image"
    done = closing(descriptor, "build", spec, "-o", image, "--allow-unconfined-scripts")
    assert done.returncode == 0, done.stderr
    assert nixdock("verify", image).returncode == 0
    assert done.stdout.startswith(b"sha256:") or descriptor == 1
    assert b"complained" in done.stderr or descriptor == 2


@pytest.mark.parametrize("command", ["plan", "--help", "closure", "digest"])
def test_standard_output_without_room(spec: Path, tmp_path: Path, command: str) -> None:
    words: dict[str, tuple[str | Path, ...]] = {
        "plan": ("plan", graph_of(spec)),
        "--help": ("--help",),
        "closure": ("registration", graph_of(spec)),
        "digest": ("build", spec, "-q", "-o", tmp_path / "image"),
    }
    with Path("/dev/full").open("wb") as full:
        done = nixdock(*words[command], stdout=full)
    assert done.returncode == 1
    assert done.stderr == b"error: can't write standard output: No space left on device\n"


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["build", "SPEC", "-o", "OUT"], 0),
        (["copy", "docker-archive:IMAGE", "OUT"], 0),
        (["build", "--nope"], 2),
        (["build", "none.json", "-o", "OUT"], 2),
    ],
)
@pytest.mark.parametrize("kind", ["full", "pipe"])
def test_standard_error_that_nobody_reads(
    spec: Path, tmp_path: Path, words: list[str], status: int, kind: str
) -> None:
    image = tmp_path / "image.tar"
    assert nixdock("build", spec, "-q", "-o", image).returncode == 0
    files = {"SPEC": str(spec), "OUT": str(tmp_path / "out"), "docker-archive:IMAGE": str(image)}
    reader, writer = os.pipe()
    os.close(reader)
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*PROGRAM, *(files.get(word, word) for word in words)],
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=full if kind == "full" else writer,
            check=False,
        )
    os.close(writer)
    assert done.returncode == status
    assert (tmp_path / "out").exists() is (status == 0)
    if not status:
        assert done.stdout.startswith(b"sha256:")
        assert nixdock("verify", tmp_path / "out").returncode == 0


def test_a_dash_is_no_file(spec: Path, tmp_path: Path) -> None:
    image = tmp_path / "image.tar"
    assert nixdock("build", spec, "-q", "-o", image).returncode == 0
    copied = run("copy", image, "-", "-q", directory=tmp_path)
    assert copied.stdout == image.read_bytes()
    done = run("build", spec, "-o", "x.tar", "--metadata-file", "-", directory=tmp_path)
    assert done.returncode == 2
    assert b"this can't be standard output" in done.stderr
    assert not (tmp_path / "-").exists()


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["build", "-", "-o", "x.tar", "--graph", "-"], "SPEC and --graph"),
        (["build", "-", "-o", "x.tar", "--graph", "/dev/stdin"], "SPEC and --graph"),
        (["sbom", "-", "--meta", "-"], "SOURCE and --meta"),
        (["diff", "-", "-"], "OLD and NEW"),
        (["push", "-", "a.io/x", "--username", "x", "--password-stdin"], "SOURCE and --password"),
    ],
)
def test_standard_input_is_read_once(tmp_path: Path, words: list[str], names: str) -> None:
    done = run(*words, stdin=b"{}", directory=tmp_path)
    assert done.returncode == 2
    assert f"standard input can't be both {names}".encode() in done.stderr
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    "words",
    [
        ["check", "-", "--deny-path", "gcc"],
        ["sbom", "-"],
        ["registration", "-"],
        ["build", "SPEC", "--graph", "-", "-o", "x.tar"],
    ],
)
def test_empty_input_is_no_closure(spec: Path, tmp_path: Path, words: list[str]) -> None:
    """The program before the pipe has failed."""
    done = run(*(str(spec) if word == "SPEC" else word for word in words), directory=tmp_path)
    assert done.returncode == 2
    assert b"standard input is empty" in done.stderr
    assert not done.stdout


@pytest.mark.parametrize(
    "words",
    [
        ["check", "/dev/stdin", "--deny-path", "gcc"],
        ["sbom", "/dev/stdin"],
        ["db", "/dev/stdin", "-o", "db"],
    ],
)
def test_an_empty_pipe_is_no_closure(tmp_path: Path, words: list[str]) -> None:
    """As that of `<(nix path-info …)` in a shell: a check of nothing would succeed."""
    done = run(*words, directory=tmp_path)
    assert done.returncode == 2
    assert b"error: /dev/stdin is empty: the program that writes the reference" in done.stderr
    assert not done.stdout
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("words", [["inspect", "-"], ["sbom", "-"], ["push", "-", "localhost:1/x"]])
def test_an_image_is_no_pipe(spec: Path, tmp_path: Path, words: list[str]) -> None:
    image = tmp_path / "image.tar"
    assert nixdock("build", spec, "-q", "-o", image).returncode == 0
    done = run(*words, stdin=image.read_bytes())
    assert done.returncode == 2
    assert b"if it is an image, give it as a file, not as a pipe" in done.stderr
