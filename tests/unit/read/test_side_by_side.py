"""Reading layers side by side: in processes or threads, with the same results and errors."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from functools import partial

import pytest

from nixdock.errors import ImageError
from nixdock.layers.progress import Progress
from nixdock.read.side_by_side import Advance, read_side_by_side

LARGE = 100 << 20


class Seen(Progress):
    """What is reported."""

    def __init__(self) -> None:
        self.weights: list[int] = []
        self.sizes: dict[int, int] = {}

    def start(self, weights: Sequence[int]) -> None:
        self.weights += weights

    def advance(self, index: int, size: int) -> None:
        self.sizes[index] = size


def job(number: int, advance: Advance) -> tuple[int, int, int]:
    if advance is not None:
        advance(number + 1)
    return number, os.getpid(), threading.get_ident()


@pytest.mark.parametrize(
    ("size", "cores", "is_local", "forks"),
    [
        (LARGE, 2, True, True),
        (LARGE, 2, False, False),
        (LARGE, 1, True, False),
        (9, 2, True, False),
    ],
)
def test_jobs(size: int, cores: int, is_local: bool, forks: bool) -> None:
    jobs, seen = [partial(job, i) for i in range(5)], Seen()
    found = read_side_by_side(jobs, [size] * 3, cores, seen, is_local=is_local)
    assert [number for number, *_ in found] == [0, 1, 2, 3, 4]
    assert (os.getpid() not in {process for _, process, _ in found}) is forks
    assert seen.weights == [size] * 3
    # The last two read no layer.
    assert {i: n for i, n in seen.sizes.items() if n} == {0: 1, 1: 2, 2: 3}


def fail(number: int, _: Advance) -> None:
    if number in {1, 3}:
        raise ImageError(f"layer {number} is damaged", digest=f"sha256:{number}")


def test_the_first_error_in_order_is_raised() -> None:
    jobs = [partial(fail, i) for i in range(4)]
    # The last is the largest, and begun first.
    sizes = [LARGE, LARGE, LARGE, 2 * LARGE]
    with pytest.raises(ImageError, match="layer 1 is damaged") as caught:
        read_side_by_side(jobs, sizes, 2, is_local=True)
    assert caught.value.digest == "sha256:1"


def test_nobody_waits_for_a_registry_after_an_error() -> None:
    """Neither does the interpreter at its end, which joins the threads of executors."""
    program = (
        "import threading\n"
        "from nixdock.errors import ImageError\n"
        "from nixdock.read.side_by_side import read_side_by_side\n"
        "begun = threading.Event()\n"
        "def fail(_):\n"
        "    begun.wait()\n"
        "    raise ImageError('damaged')\n"
        "def hang(_):\n"
        "    begun.set()\n"
        "    threading.Event().wait()\n"
        "read_side_by_side([fail, hang], [1, 1], 2, is_local=False)\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.stderr.splitlines()[-1] == "nixdock.errors.ImageError: damaged"


def test_a_killed_worker() -> None:
    jobs = [lambda _: os.kill(os.getpid(), signal.SIGKILL)] * 2
    with pytest.raises(ImageError, match="a worker process was killed while reading a layer"):
        read_side_by_side(jobs, [LARGE] * 2, 2, is_local=True)
