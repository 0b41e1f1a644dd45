"""A build that is killed while a script runs: no process stays, and no file for longer than a run.

These builds run scripts under fakeroot, whose daemon `faked` is in no process group of the build.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.unit.cli.program import PROGRAM, environment

pytestmark = [pytest.mark.slow, pytest.mark.runtime]

BUSYBOX = shutil.which("busybox")
# The script stays there until it is killed; `faked` and another daemon run meanwhile.
SCRIPT = "setsid sleep 1000 & chown 7:7 bin; touch ready; sleep 1000"


def processes_with(mark: str) -> set[str]:
    """Return the names of the processes whose environment has `mark`."""
    found = set()
    for process in Path("/proc").iterdir():
        with suppress(OSError):
            if mark.encode() in (process / "environ").read_bytes().split(b"\0"):
                found.add((process / "comm").read_text().strip())
    return found


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


@contextmanager
def waiting(spec: Path, temporary: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Give a build whose script has started."""
    process = subprocess.Popen(
        [*PROGRAM, "build", "-q", spec, "-o", temporary.parent / "image"],
        env=environment(TMPDIR=str(temporary)),
    )
    try:
        until(lambda: [*temporary.glob("*/*/ready")], "the script does not start")
        assert process.poll() is None
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def write(sample_spec: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """Give a function that writes a spec of a tree with a shell, changed by keywords."""
    names = "setsid sleep chown touch"
    shell = f"mkdir bin; cp {BUSYBOX} bin/sh; for i in {names}; do ln bin/sh bin/$i; done"

    def write_spec(**changes: object) -> Path:
        return sample_spec(tmp_path, contents=[], config={}, extra_commands=shell, **changes)

    return write_spec


@pytest.mark.parametrize("chroot", [False, True])
@pytest.mark.parametrize(
    ("cause", "status"), [(signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_no_process_outlives_a_build(
    write: Callable[..., Path], tmp_path: Path, cause: signal.Signals, status: int, *, chroot: bool
) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    mark = f"TMPDIR={temporary}"
    spec = write(fake_root_commands=SCRIPT, enable_fakechroot=chroot)
    with waiting(spec, temporary) as process:
        assert any(name.startswith("faked") for name in processes_with(mark))
        process.send_signal(cause)
        assert process.wait(30) == status
        until(lambda: not processes_with(mark), "processes of the script stay")
    assert not (tmp_path / "image").exists()
    if cause == signal.SIGKILL:
        assert any(temporary.iterdir()), "nobody could remove the temporary files"
        done = subprocess.run(
            [*PROGRAM, "build", "-q", write(), "-o", tmp_path / "image"],
            env=environment(TMPDIR=str(temporary)),
            stdout=subprocess.DEVNULL,
            check=False,
        )
        assert done.returncode == 0
    assert [*temporary.iterdir()] == []
