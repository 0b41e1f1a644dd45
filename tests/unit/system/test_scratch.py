"""Temporary directories: whose process is gone, they are removed by the next run."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from nixdock.errors import OutputError
from nixdock.system.scratch import temporary_directory, temporary_file
from nixdock.system.termination import TerminatedError
from nixdock.system.writers import writing

# Makes a temporary directory for the target in argv, says where, and stays there.
HOLDER = """
import sys
from pathlib import Path
from nixdock.system.scratch import temporary_directory
with temporary_directory(*map(Path, sys.argv[1:])) as directory:
    (directory / "file").write_text("x")
    print(directory, flush=True)
    sys.stdin.read()
"""

# Makes and removes temporary directories for the same target as fast as it can.
CHURN = """
import sys
from pathlib import Path
from nixdock.system import scratch
from nixdock.system.scratch import temporary_directory
for i in range(150):
    with temporary_directory(*map(Path, sys.argv[1:])) as directory:
        scratch._remove_shared_leftovers.cache_clear()
        (directory / "file").write_text("x")
        (directory / "file").read_text()
"""


def holder(*target: Path) -> tuple[subprocess.Popen[bytes], Path]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, *target],
        env={**os.environ, "TMPDIR": tempfile.gettempdir()},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    return process, Path(os.fsdecode(process.stdout.readline().rstrip()))


def test_the_directory_of_a_killed_process_is_removed(tmp_path: Path) -> None:
    process, leftover = holder(tmp_path / "out")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    other = tmp_path / "other"
    with temporary_directory(other):
        assert leftover.is_dir(), "it is not one of the other target's"
    with temporary_directory(tmp_path / "out") as directory:
        assert os.listdir(tmp_path) == [directory.name]
    assert os.listdir(tmp_path) == []


def test_the_directory_of_a_running_process_stays(tmp_path: Path) -> None:
    process, held = holder(tmp_path / "out")
    with temporary_directory(tmp_path / "out"):
        assert (held / "file").read_text() == "x"
    assert (held / "file").read_text() == "x"
    process.communicate()
    assert os.listdir(tmp_path) == []


def test_only_nixdocks_own_directories_are_removed(tmp_path: Path) -> None:
    target = tmp_path / "out"
    elsewhere = tmp_path / "elsewhere"
    for name in (".out.settings", ".out.nixdock", "elsewhere"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "kept").touch()
    (tmp_path / ".out.nixdock-linklink").symlink_to(elsewhere)
    (tmp_path / ".out.nixdock-filefile").touch()
    before = sorted(tmp_path.rglob("*"))
    with temporary_directory(target):
        pass
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give a directory to someone else")
def test_a_directory_of_another_user_stays(tmp_path: Path) -> None:
    foreign = tmp_path / ".out.nixdock-abcdefgh"
    foreign.mkdir()
    os.chown(foreign, 65534, 65534)
    with temporary_directory(tmp_path / "out"):
        pass
    assert foreign.is_dir()


@pytest.mark.slow
def test_many_at_once_do_not_take_each_others_directories(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen([sys.executable, "-c", CHURN, tmp_path / "out"], stderr=subprocess.PIPE)
        for _ in range(6)
    ]
    assert [process.communicate()[1] for process in processes] == [b""] * 6
    assert [process.returncode for process in processes] == [0] * 6
    assert os.listdir(tmp_path) == []


def test_a_directory_that_is_taken_before_it_is_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    mkdtemp = tempfile.mkdtemp

    def make(**options: Any) -> str:
        made.append(mkdtemp(**options))
        return made[-1]

    real_open = os.open

    def open_late(path: Any, *args: Any, **options: Any) -> int:
        descriptor = real_open(path, *args, **options)
        if len(made) == 1 and path == Path(made[0]):
            Path(path).rmdir()
        return descriptor

    monkeypatch.setattr(tempfile, "mkdtemp", make)
    monkeypatch.setattr(os, "open", open_late)
    with temporary_directory(tmp_path / "out") as directory:
        assert len(made) == 2
        assert str(directory) == made[1]


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory for temporary files, as /tmp."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_leftovers_that_are_not_beside_an_output(shared: Path) -> None:
    running, held = holder()
    killed, leftover = holder()
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    (leftover / "closed").mkdir(mode=0)
    (leftover / "link").symlink_to(held)
    with temporary_directory() as directory:
        assert sorted(shared.iterdir()) == sorted([directory, held])
        assert (held / "file").read_text() == "x"
    running.communicate()
    assert os.listdir(shared) == []


def test_a_directory_that_is_renamed_is_kept(shared: Path) -> None:
    with temporary_directory(shared / "out") as directory:
        (directory / "file").touch()
        directory.rename(shared / "out")
    assert [path.name for path in (shared / "out").iterdir()] == ["file"]


def test_what_others_have_in_a_shared_directory_stays(shared: Path) -> None:
    for name in ("nixdock-examples", "nixdock-scratch-mine", "nixdock-scratch-of-my-own", "other"):
        (shared / name).mkdir()
        (shared / name / "kept").touch()
    (shared / "nixdock-scratch-linklink").symlink_to(shared / "other")
    (shared / "nixdock-scratch-filefile").touch()
    before = sorted(shared.rglob("*"))
    with temporary_directory():
        pass
    assert sorted(shared.rglob("*")) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give a directory to someone else")
def test_a_shared_directory_may_have_those_of_other_users(shared: Path) -> None:
    foreign = shared / "nixdock-scratch-abcdefgh"
    foreign.mkdir()
    os.chown(foreign, 65534, 65534)
    with temporary_directory():
        pass
    assert foreign.is_dir()


@pytest.mark.slow
def test_many_at_once_in_a_shared_directory(shared: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CHURN],
            env={**os.environ, "TMPDIR": str(shared)},
            stderr=subprocess.PIPE,
        )
        for _ in range(6)
    ]
    assert [process.communicate()[1] for process in processes] == [b""] * 6
    assert os.listdir(shared) == []


def test_a_name_that_is_as_long_as_names_may_be(tmp_path: Path) -> None:
    with temporary_directory(tmp_path / ("ä" * 127)) as directory:
        assert directory.parent == tmp_path


def test_a_stream_has_its_directory_elsewhere(
    shared: Path,
) -> None:
    os.mkfifo(shared / "fifo")
    for target in (Path("/dev/stdout"), Path("/dev/null"), Path("/proc/self/fd/1")):
        with temporary_directory(target) as directory:
            assert directory.parent == shared


@contextmanager
def small_files() -> Iterator[None]:
    """Limit files to a hundred bytes, as `ulimit -f` does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_nameless_file_that_can_not_be_written_is_an_error_with_its_directory(
    shared: Path,
) -> None:
    with temporary_file() as file:
        assert list(shared.iterdir()) == []
        assert file.write(b"x" * 50) == 50
        with small_files(), pytest.raises(OutputError) as caught:
            while True:
                file.write(b"x" * 100)
    assert str(caught.value) == (
        f"can't write a temporary file in {shared}: File too large; TMPDIR can name another"
        " directory"
    )
    assert caught.value.path == str(shared)


def test_other_files_that_can_not_be_written_are_errors_with_their_names(shared: Path) -> None:
    file = shared / "file"
    with small_files(), pytest.raises(OutputError) as caught, writing(file):
        file.write_bytes(b"x" * 1000)
    assert str(caught.value) == f"can't write {file}: File too large"


def test_a_signal_while_a_directory_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It raises an exception wherever the process is."""

    def interrupted(*_: object) -> None:
        raise TerminatedError(15)

    monkeypatch.setattr("fcntl.flock", interrupted)
    with pytest.raises(TerminatedError), temporary_directory(tmp_path / "x"):
        pass
    assert [*tmp_path.iterdir()] == []


# Gets a signal as soon as its temporary directory is there, before it knows the name.
SIGNALLED = """
import os, signal, sys, tempfile
from pathlib import Path
from nixdock.system.scratch import temporary_directory
from nixdock.system.termination import handle_termination
make = tempfile.mkdtemp
def signalled(**arguments):
    directory = make(**arguments)
    os.kill(os.getpid(), int(sys.argv[2]))
    return directory
tempfile.mkdtemp = signalled
handle_termination()
with temporary_directory(Path(sys.argv[1])):
    print("not reached")
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_before_the_name_of_a_directory_is_known(tmp_path: Path, number: int) -> None:
    command = [sys.executable, "-c", SIGNALLED, str(tmp_path / "x"), str(int(number))]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode != 0
    assert done.stdout == b""
    assert [*tmp_path.iterdir()] == []


# Gets a signal as soon as its temporary file is there, on a file system where it has a name first.
SIGNALLED_FILE = """
import os, signal, sys, tempfile
from nixdock.system.scratch import temporary_file
from nixdock.system.termination import handle_termination
make = tempfile._mkstemp_inner
def signalled(*arguments):
    made = make(*arguments)
    os.kill(os.getpid(), int(sys.argv[1]))
    return made
tempfile._mkstemp_inner = signalled
tempfile._O_TMPFILE_WORKS = False
handle_termination()
temporary_file()
print("not reached")
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_before_a_file_has_lost_its_name(tmp_path: Path, number: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SIGNALLED_FILE, str(int(number))],
        capture_output=True,
        check=False,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert done.returncode != 0
    assert done.stdout == b""
    assert [*tmp_path.iterdir()] == []
