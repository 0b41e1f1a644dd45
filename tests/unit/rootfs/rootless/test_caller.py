"""Strings and paths in the arguments of system calls; here, the caller is this process."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from nixdock.rootfs.rootless.caller import AT_CWD, AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW, Caller

PAGE = mmap.PAGESIZE


@pytest.fixture
def caller() -> Caller:
    return Caller(os.getpid(), lambda: True)


@pytest.fixture
def address() -> Callable[[Path | str | bytes], int]:
    """A function that stores a string in memory until the test ends, and returns its address."""
    buffers = []

    def store(string: Path | str | bytes) -> int:
        buffers.append(ctypes.create_string_buffer(os.fsencode(string)))
        return ctypes.addressof(buffers[-1])

    return store


Address = Callable[[Path | str | bytes], int]


def error(number: int) -> pytest.RaisesExc[OSError]:
    return pytest.raises(OSError, check=lambda failure: failure.errno == number)


@pytest.mark.parametrize("length", [0, 1, 100, PAGE - 1])
def test_a_string_is_read(caller: Caller, address: Address, length: int) -> None:
    assert caller.string_at(address(b"x" * length)) == b"x" * length


def test_a_string_at_the_end_of_a_mapping_is_read(caller: Caller) -> None:
    with mmap.mmap(-1, PAGE) as page:
        page[-4:] = b"end\0"
        address = ctypes.addressof(ctypes.c_char.from_buffer(page, PAGE - 4))
        assert caller.string_at(address) == b"end"


def test_an_unmapped_address(caller: Caller) -> None:
    with error(errno.EFAULT):
        caller.string_at(8)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/file").write_text("the file")
    (tmp_path / "relative").symlink_to("a/b/file")
    (tmp_path / "absolute").symlink_to(tmp_path / "a")
    (tmp_path / "loop").symlink_to("loop")
    return tmp_path


@pytest.mark.parametrize(
    "name",
    ["a/b/file", "./a//b/./file", "a/b/../b/file", "relative", "absolute/b/file"],
)
def test_paths_lead_to_files(caller: Caller, address: Address, tree: Path, name: str) -> None:
    directory = os.open(tree, os.O_PATH)
    expected = (tree / "a/b/file").stat().st_ino
    try:
        for start, text in ((directory, address(name)), (AT_CWD, address(tree / name))):
            with caller.open_file(start, text) as found:
                assert os.fstat(found).st_ino == expected
    finally:
        os.close(directory)


def test_the_root_is_its_own_parent(caller: Caller, address: Address) -> None:
    with caller.open_file(AT_CWD, address("/../../..")) as found:
        assert os.path.samestat(os.fstat(found), Path("/").stat())


def test_a_link_is_not_followed_if_the_call_says_so(
    caller: Caller, address: Address, tree: Path
) -> None:
    with caller.open_file(AT_CWD, address(tree / "relative"), AT_SYMLINK_NOFOLLOW) as found:
        assert os.fstat(found).st_ino == (tree / "relative").lstat().st_ino


def test_an_empty_path_is_the_descriptor_itself(
    caller: Caller, address: Address, tree: Path
) -> None:
    start, text = os.open(tree / "a", os.O_PATH), address("")
    try:
        with caller.open_file(start, text, AT_EMPTY_PATH) as found:
            assert os.fstat(found).st_ino == (tree / "a").stat().st_ino
        with (
            pytest.raises(FileNotFoundError),
            caller.open_file(start, text),
        ):
            pass
    finally:
        os.close(start)


@pytest.mark.parametrize(
    ("name", "number"),
    [("missing/x", errno.ENOENT), ("loop", errno.ELOOP), ("a/b/file/x", errno.ENOTDIR)],
)
def test_a_path_that_leads_nowhere_raises_the_kernels_error(
    caller: Caller, address: Address, tree: Path, name: str, number: int
) -> None:
    open_before = len(os.listdir("/proc/self/fd"))
    text = address(tree / name)
    with (
        error(number),
        caller.open_file(AT_CWD, text),
    ):
        pass
    # A thread of an earlier test may close one meanwhile.
    assert len(os.listdir("/proc/self/fd")) <= open_before


def test_the_parent_of_a_path(caller: Caller, address: Address, tree: Path) -> None:
    for name in ("a/b/new", "absolute/b/new", "a/b/new/"):
        with caller.open_parent(AT_CWD, address(tree / name)) as (directory, last):
            assert os.fstat(directory).st_ino == (tree / "a/b").stat().st_ino
            assert last == b"new"


@pytest.mark.parametrize("name", ["/", "a/.."])
def test_paths_without_a_name(caller: Caller, address: Address, name: str) -> None:
    with (
        error(errno.EBUSY),
        caller.open_parent(AT_CWD, address(name)),
    ):
        pass


def test_loaded_libraries_and_the_umask(caller: Caller) -> None:
    assert caller.has_mapped("libc.so.6")
    assert not caller.has_mapped("libnothing")
    old = os.umask(0o137)
    try:
        assert caller.umask() == 0o137
    finally:
        os.umask(old)


def test_a_caller_that_no_longer_waits(address: Address, tmp_path: Path) -> None:
    """What was read may be another process's."""
    gone = Caller(os.getpid(), lambda: False)
    with error(errno.ESRCH):
        gone.string_at(address("x"))
    with error(errno.ESRCH):
        gone.has_mapped("libc")
    with error(errno.ESRCH):
        gone.umask()
    with error(errno.ESRCH), gone.open_descriptor(AT_CWD):
        pass
    with error(errno.ESRCH), gone.open_file(AT_CWD, address(tmp_path)):
        pass
    with error(errno.ESRCH), gone.open_parent(AT_CWD, address(tmp_path)):
        pass
