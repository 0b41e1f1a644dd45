"""The tars of layers that are verified in processes: what goes wrong is told in their order."""

from __future__ import annotations

import errno
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nixdock.errors import ImageError, NixdockError
from nixdock.read import forked_tars as module
from nixdock.read import opened_tars
from nixdock.read.forked_tars import forked_tars
from nixdock.read.merging import merged_tree
from nixdock.read.opening import open_image
from nixdock.read.stored_layer import StoredLayer
from nixdock.read.tree import MergedTree
from nixdock.read.whole_tars import read_tar
from nixdock.rootfs.export import write_tree
from tests.unit.docker_archive import archive, directory, entry, layer, link
from tests.unit.running_forks import running_forks

TWICE = layer(directory("d"), directory("d"))
"""A layer about which merging warns."""

REFUSED = layer(entry("link", b"1", linkname="nowhere"))
"""A layer that merging refuses."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "image.tar"


@pytest.fixture
def forks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let merged trees of any size be verified in processes; the numbers of these are added."""
    found: list[int] = []

    def fork(layers: tuple[StoredLayer, ...], cores: int) -> object:
        found.append(cores)
        return forked_tars(layers, cores)

    monkeypatch.setenv("NIX_BUILD_CORES", "2")
    monkeypatch.setattr(opened_tars, "_WORTH_PROCESSES", 0)
    monkeypatch.setattr(opened_tars, "forked_tars", fork)
    # The runner of the tests may have some.
    monkeypatch.setattr(threading, "active_count", lambda: 1)
    return found


@contextmanager
def merged(path: Path, *, may_fork: bool = True) -> Iterator[MergedTree]:
    with open_image(path) as file, merged_tree(file.images[0].layers, may_fork=may_fork) as tree:
        yield tree


def exported(path: Path, *, may_fork: bool) -> bytes:
    pieces: list[bytes] = []
    with merged(path, may_fork=may_fork) as tree:
        write_tree(tree, lambda piece: pieces.append(bytes(piece)), mtime=0)
    return b"".join(pieces)


def damage(path: Path, old: bytes, new: bytes) -> None:
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new))


@pytest.mark.usefixtures("forks")
@pytest.mark.parametrize("compress", [False, True])
def test_the_tree_is_that_of_threads(path: Path, forks: list[int], compress: bool) -> None:
    first = layer(("a", "x" * 3_000_000), ("b/c", "y"), link("l", "b"))
    # Equal layers are one.
    archive(path, [first, layer(("b/d", "z"), ("l/e", "w")), first, layer(("a", "v"))], compress)
    assert exported(path, may_fork=True) == exported(path, may_fork=False)
    assert forks == [2]


def test_nothing_is_left(path: Path, forks: list[int]) -> None:
    archive(path, [layer((str(i), "x")) for i in range(5)], compress=True)
    descriptors, threads = len(os.listdir("/proc/self/fd")), len(threading.enumerate())
    with merged(path) as tree:
        assert [name for name, _ in tree.walk()] == [b"0", b"1", b"2", b"3", b"4"]
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert len(threading.enumerate()) == threads
    assert forks == [2]


def test_an_uncompressed_tar_is_there_before_it_is_verified(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive(path, [layer(("a", "one")), layer(("b", "two"))])
    ready, go_on = os.pipe()

    def wait_and_read(layer: StoredLayer, seen: Callable[[int], object]) -> None:
        os.read(ready, 1)
        read_tar(layer, seen)

    monkeypatch.setattr(module, "read_tar", wait_and_read)
    with open_image(path) as file, forked_tars(file.images[0].layers, 2) as opened:
        tars = list(opened)
        assert b"one" in tars[0].tar.read()
        os.write(go_on, b"..")
        for each in tars:
            each.verify()
    os.close(ready)
    os.close(go_on)


@pytest.mark.usefixtures("forks")
@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize(
    ("layers", "damaged", "message"),
    [
        pytest.param([layer(("a", "one")), REFUSED], 0, "is damaged", id="damage below"),
        pytest.param([layer(("a", "one")), REFUSED], 1, "is damaged", id="damage of the same"),
        pytest.param([REFUSED, layer(("a", "one"))], 1, "not an earlier file", id="damage above"),
        pytest.param([REFUSED, layer(("a", "one"))], 0, "is damaged", id="damage of the first"),
    ],
)
def test_the_first_that_is_wrong_is_told(
    path: Path, layers: list[bytes], damaged: int, message: str, compress: bool
) -> None:
    archive(path, layers, compress)
    with open_image(path) as file:
        start = file.images[0].layers[damaged]
        at = file.members.open_range(start.name)
        place = at._start + (at.size - 6 if compress else 136)
    data = bytearray(path.read_bytes())
    # The checksum of gzip, or the time in the header, so that this is malformed, too.
    data[place] ^= 1
    path.write_bytes(data)
    errors = []
    for may_fork in (False, True):
        with pytest.raises(ImageError) as raised, merged(path, may_fork=may_fork):
            pass
        errors.append((str(raised.value), raised.value.place, raised.value.digest))
    assert errors[0] == errors[1]
    assert message in errors[0][0]


@pytest.mark.usefixtures("forks")
def test_warnings_come_once_their_layer_is_verified(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    archive(path, [TWICE, layer(("a", "one")), layer(directory("e"), directory("e"))])
    damage(path, b"one", b"eno")
    with (
        caplog.at_level(logging.WARNING),
        pytest.raises(ImageError, match=r"Layers\[1\] is damaged"),
        merged(path),
    ):
        pass
    (warning,) = caplog.records
    assert "the directory 'd' appears twice" in warning.getMessage()


@pytest.mark.usefixtures("forks")
def test_a_missing_layer_is_told_after_a_damaged_one(path: Path) -> None:
    archive(path, [layer(("a", "one")), layer(("b", "two"))])
    damage(path, b"one", b"eno")
    with open_image(path) as file:
        first, second = file.images[0].layers
        missing = StoredLayer(
            *(file.members, "nothing", "place", second.diff_id, second.size),
            *(second.media_type, second.history, None),
        )
        for layers, message in (
            ([first, missing], "is damaged"),
            ([second, missing], "nothing is missing"),
        ):
            with pytest.raises(ImageError, match=message), merged_tree(layers, may_fork=True):
                pass


@pytest.mark.usefixtures("forks")
def test_bombs_that_are_small_each(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_EXPANDED", 8 << 20)
    archive(path, [layer((f"{i}", "x" * (3 << 20))) for i in range(3)], compress=True)
    with (
        pytest.raises(ImageError, match=f"the layers expand to more than {8 << 20} b"),
        merged(path),
    ):
        pass


@pytest.mark.usefixtures("forks")
def test_a_killed_process(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "read_tar", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    archive(path, [layer(("a", "one")), layer(("b", "two"))])
    with pytest.raises(ImageError, match="a worker process was killed"), merged(path):
        pass


@pytest.mark.usefixtures("forks")
def test_another_error_is_raised_as_it_is(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "copy_tar", full)
    archive(path, [layer(("a", "one"))], compress=True)
    with pytest.raises(OSError, match="No space left"), merged(path):
        pass


def test_threads_are_used_where_forking_is_not_safe(
    path: Path, forks: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    archive(path, [layer(("a", "one"))])
    monkeypatch.setattr(threading, "active_count", lambda: 2)
    with merged(path):
        pass
    monkeypatch.setattr(threading, "active_count", lambda: 1)
    with merged(path, may_fork=False):
        pass
    monkeypatch.setenv("NIX_BUILD_CORES", "1")
    with merged(path):
        pass
    assert forks == []


def test_an_error_of_the_block_ends_the_processes(path: Path, forks: list[int]) -> None:
    archive(path, [layer(("a", "one"))])
    with pytest.raises(NixdockError, match="mine"), merged(path):
        raise NixdockError("mine")
    assert forks == [2]
    assert running_forks() == []
