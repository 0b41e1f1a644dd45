"""Locks of directories, also of those that are replaced meanwhile."""

from __future__ import annotations

import threading
from pathlib import Path

from nixdock.system.atomic import whole_directory
from nixdock.system.directory_form import DirectoryForm
from nixdock.system.directory_lock import directory_lock

FORM = DirectoryForm("marker")


def test_readers_share_a_directory_and_writers_wait(tmp_path: Path) -> None:
    events: list[str] = []

    def write() -> None:
        with directory_lock(tmp_path, writing=True):
            events.append("written")

    writer = threading.Thread(target=write)
    with directory_lock(tmp_path, writing=False), directory_lock(tmp_path, writing=False):
        writer.start()
        writer.join(0.2)
        events.append("read")
    writer.join()
    assert events == ["read", "written"]


def test_a_lock_is_that_of_the_directory_that_is_there(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with whole_directory(target, FORM) as directory:
        (directory / "marker").write_text("first")
    found: list[str] = []

    def read() -> None:
        with directory_lock(target, writing=True):
            # Whoever holds the lock of the directory that is there keeps it from being replaced.
            replacing = threading.Thread(target=replace)
            replacing.start()
            replacing.join(0.2)
            found.append((target / "marker").read_text())
        replacing.join()

    def replace() -> None:
        with whole_directory(target, FORM) as directory:
            (directory / "marker").write_text("third")

    reader = threading.Thread(target=read)
    with directory_lock(target, writing=True):
        reader.start()
        reader.join(0.2)
        # As a process that has the lock does.
        target.rename(tmp_path / "earlier")
        target.mkdir()
        (target / "marker").write_text("second")
    reader.join()
    assert found == ["second"]
    assert (target / "marker").read_text() == "third"


def test_what_is_not_there_has_no_lock(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in ("none", "file"):
        with directory_lock(tmp_path / name, writing=True):
            pass
