"""Permission rules: owners, modes and capabilities that files have only in the image.

The rules change the headers of members while a layer is packed. The files on disk keep their
owners and modes, so neither root nor fakeroot is needed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from nixdock.errors import PackError
from nixdock.system.cpu_limit import CpuTimeExceededError, within_cpu_time
from nixdock.system.regexes import compile_regex
from nixdock.tar.capabilities import CAPABILITY_XATTR, capability_xattr
from nixdock.tar.header import Attributes, Entry, name_text, owner_name
from nixdock.tar.kinds import KIND_NAMES, Kind

__all__ = ["PermissionRule", "Rules", "apply_rules"]

# The time in seconds for comparing one name with one regex. A good regex needs microseconds, a bad
# one may need years.
_MOST_SECONDS: Final = 10


class PermissionRule(Struct, frozen=True):
    """Overrides the owner, mode and capabilities of matching files.

    Without `regex`, the rule matches the file at `path`. With `regex`, it matches the files at and
    below `path` (default: all files) whose whole path in the image matches. A rule that matches no
    file is an error, unless it is `optional`.
    """

    path: str | None = None
    regex: str | None = None
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    uname: str | None = None
    gname: str | None = None
    capabilities: tuple[str, ...] = ()
    optional: bool = False

    def document(self) -> dict[str, Any]:
        """Return the fields by name, for the key of a layer, which `optional` does not change."""
        return {name: getattr(self, name) for name in self.__struct_fields__ if name != "optional"}

    def concerns(self, directory: str, *, parents: bool = True) -> bool:
        """Return whether the rule may match a file at or below `directory`, or one of its parents.

        A layer with `directory` also has its parents as members, except the root; without
        `parents`, they do not count.
        """
        if self.path is None:
            return True
        path = self.path.rstrip("/")
        if self.regex is None and not parents:
            return _is_at_or_below(path, directory)
        return _is_at_or_below(path, directory) or (
            (path != "" or self.regex is not None) and _is_at_or_below(directory, path)
        )


def apply_rules(rules: Sequence[PermissionRule], entries: Iterable[Entry]) -> Iterator[Entry]:
    """Yield `entries` with the rules applied; later rules win.

    Raise PackError if a rule without a regex gives a symlink a mode or capabilities, or another
    file that is not regular capabilities, or if comparing a name with a regex takes too long.
    """
    compiled = [_CompiledRule.of(rule) for rule in rules]
    for entry in entries:
        name = _plain_name(entry.name)
        changed = entry
        for rule in compiled:
            if rule.matches(name):
                changed = rule.apply(changed, name)
        yield changed


class Rules:
    """Rules, to be compared with the names of members."""

    def __init__(self, rules: Sequence[PermissionRule]) -> None:
        self.rules = rules
        self._compiled = [_CompiledRule.of(rule) for rule in rules]

    def matches(self, i: int, name: bytes) -> bool:
        """Tell whether rule number `i` matches the member; raise PackError if that takes long."""
        return self._compiled[i].matches(_plain_name(name))


def _plain_name(name: bytes) -> str:
    text = name_text(name)
    return text if text == "/" else text.rstrip("/")


class _CompiledRule(Struct, frozen=True):
    rule: PermissionRule
    path: str | None
    pattern: re.Pattern[str] | None
    xattrs: tuple[tuple[bytes, bytes], ...]

    @classmethod
    def of(cls, rule: PermissionRule) -> _CompiledRule:
        return cls(
            rule=rule,
            path=None if rule.path is None else rule.path.rstrip("/") or "/",
            pattern=None if rule.regex is None else compile_regex(rule.regex),
            xattrs=((CAPABILITY_XATTR, capability_xattr(rule.capabilities)),)
            if rule.capabilities
            else (),
        )

    def matches(self, name: str) -> bool:
        if self.pattern is None:
            return name == self.path
        if self.path is not None and not _is_at_or_below(name, self.path):
            return False
        try:
            return within_cpu_time(_MOST_SECONDS, lambda: self._fullmatch(name))
        except CpuTimeExceededError:
            raise PackError(
                f"perms: comparing {name} with the regex {self.rule.regex!r} takes more than"
                f" {_MOST_SECONDS} seconds; write a regex without nested repetitions, such as"
                " (a+)+",
                path=name,
                key="perms",
            ) from None

    def _fullmatch(self, name: str) -> bool:
        return self.pattern is not None and self.pattern.fullmatch(name) is not None

    def apply(self, entry: Entry, name: str) -> Entry:
        rule = self.rule
        mode, xattrs = rule.mode, self.xattrs
        if entry.kind == Kind.SYMLINK and (mode is not None or xattrs):
            if self.pattern is None:
                raise PackError(
                    f"perms: {name} is a symlink to {name_text(entry.target)}, and symlinks have"
                    " neither mode nor capabilities; give the path of its target",
                    path=name,
                    key="perms",
                )
            mode, xattrs = None, ()
        if entry.kind != Kind.FILE and xattrs:
            if self.pattern is None:
                raise PackError(
                    f"perms: {name} is a {KIND_NAMES[entry.kind]}, and only regular files have"
                    " capabilities; give the path of a program",
                    path=name,
                    key="perms",
                )
            xattrs = ()
        old = entry.attributes or Attributes()
        return entry._replace(
            mode=entry.mode if mode is None else mode,
            attributes=replace(
                old,
                uid=old.uid if rule.uid is None else rule.uid,
                gid=old.gid if rule.gid is None else rule.gid,
                uname=_owner_name(rule.uname, rule.uid, old.uname),
                gname=_owner_name(rule.gname, rule.gid, old.gname),
                xattrs=_merged_xattrs(old.xattrs, xattrs),
            ),
        )


def _owner_name(name: str | None, number: int | None, old: str | None) -> str | None:
    """Return the name of an owner: a new number without a name must not keep the old name."""
    if name is None and number is not None:
        return owner_name(number)
    return old if name is None else name


def _merged_xattrs(
    old: tuple[tuple[bytes, bytes], ...], new: tuple[tuple[bytes, bytes], ...]
) -> tuple[tuple[bytes, bytes], ...]:
    return tuple(sorted({**dict(old), **dict(new)}.items())) if new else old


def _is_at_or_below(name: str, directory: str) -> bool:
    top = directory.rstrip("/")
    return name == top or name.startswith(f"{top}/")
