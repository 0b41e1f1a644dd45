"""The store as scripts see it, where this machine's store lacks some of its paths."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from nixdock.errors import ScriptError

__all__ = ["StoreView"]

_PROBE: Final = ".probe"
# Where the symlinks lead: nowhere, so that a script finds no file.
_NOWHERE: Final = "absent"


class StoreView:
    """The store paths that scripts see, and those that they may want.

    There is a mount for each path that is `present`, from the file where it lies: scripts see no
    others. In place of those that are `waiting`, they find symlinks that lead nowhere. The kernel
    notes when a symlink is followed, whatever for: `wanted` are the paths that a script has tried
    to use. Its result counts only if there are none.
    """

    def __init__(self, present: Mapping[str, str], waiting: Iterable[str] = ()) -> None:
        self.present = dict(present)
        self.waiting = set(waiting)
        self.wanted: set[str] = set()
        self._links: dict[str, Path] = {}

    def lay_out(self, directory: Path) -> list[Path]:
        """Make the symlinks in the directory of a store, and return them.

        Where the file system does not tell of their use, all paths are wanted.
        """
        self._links = {}
        for path in sorted(self.waiting):
            link = directory / os.path.basename(path)  # noqa: PTH119 (text)
            if not os.path.lexists(link):
                _make_link(link)
                self._links[path] = link
        if not _tells_of_use(directory):
            self.wanted |= self.waiting
        return [*self._links.values()]

    def note_use(self) -> None:
        """Add to `wanted` what a script has tried to use of what was laid out."""
        self.wanted |= {path for path, link in self._links.items() if _was_used(link)}
        self._links = {}

    def fetched(self, path: str, file: str) -> None:
        """Let a path be present, which was wanted and lies at `file` by now."""
        self.present[path] = file
        self.waiting.discard(path)
        self.wanted.discard(path)

    def check_unconfined(self, key: str, script: str) -> None:
        """Raise ScriptError if a script names a path that this machine's own store lacks."""
        elsewhere = {path for path, file in self.present.items() if path != file}
        for path in sorted(self.waiting | elsewhere):
            if path in script and not os.path.lexists(path):
                raise ScriptError(
                    f"{key} names {path}, which is not in the local store, so that the script would"
                    " not find its files, because it is not confined; copy the path into the local"
                    f" store first, for example with `nix copy --from URL {path}`",
                    key=key,
                    path=path,
                )


def _make_link(link: Path) -> None:
    link.symlink_to(_NOWHERE)
    # The kernel changes the time of an access only if it is older than the last change.
    os.utime(link, ns=(0, 0), follow_symlinks=False)


def _was_used(link: Path) -> bool:
    try:
        return link.lstat().st_atime_ns != 0
    except OSError:
        # A script has removed it.
        return True


def _tells_of_use(directory: Path) -> bool:
    probe = directory / _PROBE
    _make_link(probe)
    try:
        with suppress(OSError):
            probe.stat()
        return _was_used(probe)
    finally:
        probe.unlink()
