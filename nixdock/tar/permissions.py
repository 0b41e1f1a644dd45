"""Permission rules: owners, modes and capabilities that files have in the image alone.

They are applied to the headers of a layer's members while it is packed, so nothing on disk needs
to have them, and no root is needed, not even a feigned one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nixdock.errors import PackError
from nixdock.tar.capabilities import CAPABILITY_XATTR, capability_xattr
from nixdock.tar.header import Attributes, Entry, name_text, owner_name
from nixdock.tar.kinds import Kind

__all__ = ["PermissionRule", "apply_rules"]


@dataclass(frozen=True, slots=True)
class PermissionRule:
    """What the files that it is for have instead of what their layer gives them.

    It is for the file at `path`; or, with `regex`, for those whose whole name in the image
    matches, of all files or of those at and below `path`.
    """

    path: str | None = None
    regex: str | None = None
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    uname: str | None = None
    gname: str | None = None
    capabilities: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """Return what a layer's recipe must say of the rule."""
        return {name: getattr(self, name) for name in self.__slots__}

    def concerns(self, directory: str) -> bool:
        """Tell whether it may be for a file at or below `directory`."""
        if self.path is None:
            return True
        path = self.path.rstrip("/")
        return _is_at_or_below(path, directory) or (
            self.regex is not None and _is_at_or_below(directory, path)
        )


def apply_rules(rules: Sequence[PermissionRule], entries: Iterable[Entry]) -> Iterator[Entry]:
    """Yield `entries` as the rules, of which later ones win, want them.

    Raise PackError for a rule that names a link where it must name a file.
    """
    compiled = [_Compiled.of(rule) for rule in rules]
    for entry in entries:
        name = name_text(entry.name)
        name = name if name == "/" else name.rstrip("/")
        changed = entry
        for rule in compiled:
            if rule.matches(name):
                changed = rule.applied(changed, name)
        yield changed


@dataclass(frozen=True, slots=True)
class _Compiled:
    rule: PermissionRule
    path: str | None
    pattern: re.Pattern[str] | None
    xattrs: tuple[tuple[bytes, bytes], ...]

    @classmethod
    def of(cls, rule: PermissionRule) -> _Compiled:
        return cls(
            rule=rule,
            path=None if rule.path is None else rule.path.rstrip("/") or "/",
            pattern=None if rule.regex is None else re.compile(rule.regex, re.DOTALL),
            xattrs=((CAPABILITY_XATTR, capability_xattr(rule.capabilities)),)
            if rule.capabilities
            else (),
        )

    def matches(self, name: str) -> bool:
        if self.pattern is None:
            return name == self.path
        if self.path is not None and not _is_at_or_below(name, self.path):
            return False
        return self.pattern.fullmatch(name) is not None

    def applied(self, entry: Entry, name: str) -> Entry:
        rule = self.rule
        mode, xattrs = rule.mode, self.xattrs
        if entry.kind == Kind.SYMLINK and (mode is not None or xattrs):
            if self.pattern is None:
                raise PackError(
                    f"perms: {name} is a link to {name_text(entry.target)}, and a link has neither"
                    " mode nor capabilities; name the file that it leads to"
                )
            mode, xattrs = None, ()
        if entry.kind != Kind.FILE:
            xattrs = ()
        old = entry.attributes or Attributes()
        return entry._replace(
            mode=entry.mode if mode is None else mode,
            attributes=replace(
                old,
                uid=old.uid if rule.uid is None else rule.uid,
                gid=old.gid if rule.gid is None else rule.gid,
                uname=_name(rule.uname, rule.uid, old.uname),
                gname=_name(rule.gname, rule.gid, old.gname),
                xattrs=_joined(old.xattrs, xattrs),
            ),
        )


def _name(name: str | None, number: int | None, old: str | None) -> str | None:
    """Return the name of an owner; that of another number would be wrong."""
    if name is None and number is not None:
        return owner_name(number)
    return old if name is None else name


def _joined(
    old: tuple[tuple[bytes, bytes], ...], new: tuple[tuple[bytes, bytes], ...]
) -> tuple[tuple[bytes, bytes], ...]:
    return tuple(sorted({**dict(old), **dict(new)}.items())) if new else old


def _is_at_or_below(name: str, directory: str) -> bool:
    top = directory.rstrip("/")
    return name == top or name.startswith(f"{top}/")
