"""Joining trees at `/`, as links to where their files lie."""

from __future__ import annotations

import filecmp
import logging
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from nixdock.errors import PackError, SpecError
from nixdock.rootfs.underlay import Underlay

__all__ = ["Joining", "link_contents", "readable"]

log = logging.getLogger(__name__)


@dataclass
class Joining:
    """One join under way: the tree that grows, and which content each file came from."""

    into: Path
    root: str
    underlay: Underlay
    sources: dict[str, str] = field(default_factory=dict)

    def contents(self, contents: Sequence[str]) -> Iterator[str]:
        """Yield the contents that are directories; raise SpecError for what does not exist."""
        for content in dict.fromkeys(path.rstrip("/") for path in contents):
            place = Path(f"{self.root}{content}")
            if not place.exists():
                raise SpecError(f"contents: {content} does not exist")
            if not place.is_dir():
                log.warning("%s is not a directory: nothing of it is put at /", content)
                continue
            yield content

    def clash(self, relative: str, late: str) -> SpecError:
        """Return the error that a file and a directory have the same name."""
        other = "a file" if late.endswith("directory") else "a directory"
        first = self.sources.get(relative, "the base image")
        return SpecError(f"contents: at /{relative}, {first} has {other}, but {late}")

    def make_directory(self, content: str, relative: str) -> None:
        """Make the directory `relative`, and those above it, if need be."""
        target = self.into / relative
        if target.is_dir() and not target.is_symlink():
            return
        expanded = None
        if os.path.lexists(target):
            expanded = self.leads_to(target) if target.is_symlink() else None
            if expanded is None and relative in self.sources:
                raise self.clash(relative, f"{content} has a directory")
            # A file of the base image makes room, and a link to a directory what it leads to.
            target.unlink()
        self.make_parents(content, relative)
        first = self.sources.setdefault(relative, content)
        target.mkdir()
        target.chmod(0o755)
        if expanded is not None:
            link_directory(self, first, relative, expanded)

    def make_parents(self, content: str, relative: str) -> None:
        """Make the directories above `relative`."""
        parent = relative.rpartition("/")[0]
        if parent and not (self.into / parent).is_dir():
            self.make_directory(content, parent)

    def leads_to(self, link: Path) -> str | None:
        """Return the directory to which an absolute link leads, or None."""
        text = os.readlink(link)
        place = f"{self.root}{text}"
        return place if text.startswith("/") and Path(place).is_dir() else None


@contextmanager
def readable(content: str) -> Iterator[None]:
    """Turn errors of reading `content` into PackErrors."""
    try:
        yield
    except OSError as error:
        place = error.filename or content
        raise PackError(f"can't join {place}: {error.strerror}") from None


def link_contents(
    contents: Sequence[str], into: Path, root: str = "", underlay: Underlay | None = None
) -> None:
    """Join the trees `contents` in the directory `into`.

    Directories are real, files are links to where they lie, and links are kept as they are
    unless they lead out of their tree. Where two contents disagree on a file the first one wins,
    with a warning; a file against a directory raises SpecError. `root` is the directory below
    which the contents lie, when that is not `/`. Where `underlay` has a link to a directory, what
    belongs below it goes to where the link leads.
    """
    joining = Joining(into, root, underlay or Underlay())
    into.chmod(0o755)
    for content in joining.contents(contents):
        with readable(content):
            link_directory(joining, content, "", f"{root}{content}")


def link_directory(joining: Joining, content: str, relative: str, directory: str) -> None:
    """Add what `directory` holds as the directory `relative` of `content`."""
    for entry in sorted(os.scandir(directory), key=lambda entry: entry.name):
        inner = f"{relative}/{entry.name}" if relative else entry.name
        if entry.is_dir(follow_symlinks=False):
            joining.make_directory(content, joining.underlay.directory(inner))
            link_directory(joining, content, inner, entry.path)
        elif inside := _directory_in_place(joining, inner, entry):
            link_directory(joining, content, inner, inside)
        else:
            _link(joining, content, inner, entry)


def _directory_in_place(joining: Joining, relative: str, entry: os.DirEntry[str]) -> str | None:
    """Return the directory that a link leads to, if there is a directory in its place already.

    A link would hide what that directory has, or be hidden by it.
    """
    if not entry.is_symlink():
        return None
    place = joining.underlay.directory(relative)
    target = joining.into / place
    if not joining.underlay.has_directory(place) and (target.is_symlink() or not target.is_dir()):
        return None
    leads_to = joining.leads_to(Path(entry.path))
    return leads_to or (entry.path if entry.is_dir() else None)


def _link(joining: Joining, content: str, relative: str, entry: os.DirEntry[str]) -> None:
    place = joining.underlay.place(relative)
    target = joining.into / place
    link = f"{content}/{relative}"
    if entry.is_symlink():
        link = _kept_link(entry.path, relative) or link
    if place not in joining.sources and (target.is_symlink() or target.is_file()):
        target.unlink()
    if not os.path.lexists(target):
        joining.make_parents(content, place)
        joining.sources[place] = content
        target.symlink_to(link)
    elif not target.is_symlink():
        raise joining.clash(place, f"{content} has a file")
    elif not _same(joining.root, target, link):
        log.warning(
            "/%s is in two contents: %s is used, %s is not",
            place,
            f"{joining.sources[place]}/{place}",
            f"{content}/{relative}",
        )


def _kept_link(path: str, relative: str) -> str | None:
    """Return the text of the link at `path`, unless it is relative and leads out of its tree."""
    text = os.readlink(path)
    if text.startswith("/"):
        return text
    resolved = os.path.normpath(f"{os.path.dirname(relative)}/./{text}".lstrip("/"))  # noqa: PTH120
    return None if resolved == ".." or resolved.startswith("../") else text


def _same(root: str, target: Path, link: str) -> bool:
    """Tell whether the link in place and the one that comes late give the same file."""
    held = os.readlink(target)
    if held == link:
        return True
    one, other = Path(root + held), Path(root + link)
    if not (held.startswith("/") and link.startswith("/") and one.is_file() and other.is_file()):
        return False
    return stat.S_IMODE(one.stat().st_mode) == stat.S_IMODE(other.stat().st_mode) and filecmp.cmp(
        one, other, shallow=False
    )
