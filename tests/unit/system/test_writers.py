"""Writers: all bytes are written, to files, pipes, sockets and non-blocking descriptors."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from nixdock.errors import OutputError
from nixdock.system.atomic import whole_file
from nixdock.system.writers import FileWriter, StreamWriter, descriptor_of


def test_a_file_that_can_not_be_created(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=f"can't write {tmp_path}: Is a directory"):
        FileWriter(tmp_path)


def test_a_full_disk() -> None:
    with (
        pytest.raises(
            OutputError, match="can't write /dev/full: No space left on device"
        ) as caught,
        FileWriter(Path("/dev/full")) as writer,
    ):
        writer.write(b"x")
    assert caught.value.path == "/dev/full"


def test_a_pipe_gets_everything() -> None:
    source, sink = os.pipe()
    data = bytes(range(256)) * 20_000
    received: list[bytes] = []

    def read() -> None:
        while chunk := os.read(source, 100_000):
            received.append(chunk)

    reader = threading.Thread(target=read)
    reader.start()
    writer = StreamWriter(sink, "the pipe")
    writer.write(memoryview(data))
    writer.write(b"")
    writer.write(b"end")
    os.close(sink)
    reader.join()
    os.close(source)
    assert b"".join(received) == data + b"end"


def test_writes_that_are_cut_short(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bytes] = []

    def write(descriptor: int, data: memoryview | bytes) -> int:
        written.append(bytes(data[:3]))
        return len(written[-1])

    monkeypatch.setattr(os, "write", write)
    with Path(os.devnull).open("wb") as sink:
        StreamWriter(sink.fileno(), "x").write(b"0123456789")
    assert written == [b"012", b"345", b"678", b"9"]


def test_a_closed_pipe() -> None:
    source, sink = os.pipe()
    os.close(source)
    with pytest.raises(OutputError, match="the reader of the pipe closed it before the end"):
        StreamWriter(sink, "the pipe").write(b"x")
    os.close(sink)


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_a_descriptor_that_does_not_block(kind: str) -> None:
    if kind == "pipe":
        source, sink = os.pipe()
    else:
        source, sink = (end.detach() for end in socket.socketpair())
    os.set_blocking(sink, False)
    data = bytes(range(256)) * 40_000
    received: list[bytes] = []

    def read() -> None:
        while chunk := os.read(source, 100_000):
            received.append(chunk)

    reader = threading.Timer(0.2, read)
    reader.start()
    StreamWriter(sink, "the reader").write(data)
    os.close(sink)
    reader.join()
    os.close(source)
    assert b"".join(received) == data


@pytest.mark.parametrize(
    ("path", "descriptor"),
    [
        ("/dev/stdout", 1),
        ("/dev/stderr", 2),
        ("/dev/fd/7", 7),
        ("/dev//fd/../fd/7", 7),
        ("/proc/self/fd/1", 1),
        ("/dev/null", None),
        ("/dev/fd/x", None),
        ("stdout", None),
        ("-", None),
    ],
)
def test_paths_of_descriptors(path: str, descriptor: int | None) -> None:
    assert descriptor_of(Path(path)) == descriptor


# Appends to what standard output already has, whatever standard output is.
APPEND = """
from pathlib import Path
from nixdock.system.atomic import whole_file
with whole_file(Path("/dev/stdout")) as file:
    file.write(b"two")
"""


def test_standard_output_that_is_a_file_is_not_overwritten(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log:
        log.write(b"one ")
        log.flush()
        subprocess.run([sys.executable, "-c", APPEND], stdout=log, check=True)
    assert (tmp_path / "log").read_bytes() == b"one two"
    assert Path("/dev/stdout").is_symlink(), "the link in /dev is not replaced"


def test_standard_output_that_is_a_socket() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        subprocess.run([sys.executable, "-c", APPEND], stdout=theirs.fileno(), check=True)
        assert ours.recv(100) == b"two"


def test_a_descriptor_that_is_closed() -> None:
    message = "can't write /dev/fd/999: Bad file descriptor"
    with pytest.raises(OutputError, match=message), whole_file(Path("/dev/fd/999")) as file:
        file.write(b"x")
