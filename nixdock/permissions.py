"""Permission rules: owners, modes and capabilities that files have in the image alone.

They are applied to the headers of a layer's members while it is packed, so nothing on disk needs
to have them, and no root is needed, not even a feigned one.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from nixdock.errors import InputError, PackError
from nixdock.tar_header import Attributes, Entry, Kind, name_text

__all__ = ["PermissionRule", "apply_rules", "capability_xattr"]

_CAPABILITY: Final = b"security.capability"
# include/uapi/linux/capability.h: the numbers of capabilities, and an attribute's layout.
_CAPABILITIES: Final = (
    "chown", "dac_override", "dac_read_search", "fowner", "fsetid", "kill", "setgid", "setuid",
    "setpcap", "linux_immutable", "net_bind_service", "net_broadcast", "net_admin", "net_raw",
    "ipc_lock", "ipc_owner", "sys_module", "sys_rawio", "sys_chroot", "sys_ptrace", "sys_pacct",
    "sys_admin", "sys_boot", "sys_nice", "sys_resource", "sys_time", "sys_tty_config", "mknod",
    "lease", "audit_write", "audit_control", "setfcap", "mac_override", "mac_admin", "syslog",
    "wake_alarm", "block_suspend", "audit_read", "perfmon", "bpf", "checkpoint_restore",
)  # fmt: skip
_REVISION_2: Final = 0x02000000
_EFFECTIVE: Final = 1
_CLAUSE: Final = re.compile(r"(?P<names>[a-z_,]+)(?:[=+](?P<flags>[eip]+))?", re.ASCII)


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
            xattrs=((_CAPABILITY, capability_xattr(rule.capabilities)),)
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
        return "root" if number == 0 else ""
    return old if name is None else name


def _joined(
    old: tuple[tuple[bytes, bytes], ...], new: tuple[tuple[bytes, bytes], ...]
) -> tuple[tuple[bytes, bytes], ...]:
    return tuple(sorted({**dict(old), **dict(new)}.items())) if new else old


def _is_at_or_below(name: str, directory: str) -> bool:
    top = directory.rstrip("/")
    return name == top or name.startswith(f"{top}/")


def capability_xattr(capabilities: Sequence[str]) -> bytes:
    """Return the value of `security.capability` for clauses such as `cap_net_raw=ep`.

    A clause is names, joined by commas, and flags: e, i and p, by default ep. Raise InputError.
    """
    permitted = inheritable = effective = 0
    for clause in capabilities:
        match = _CLAUSE.fullmatch(clause.lower())
        if match is None:
            raise InputError(f"{clause!r} is no capability: expected such as cap_net_raw=ep")
        bits = sum(1 << _number(name, clause) for name in match["names"].split(","))
        flags = match["flags"] or "ep"
        permitted |= bits if "p" in flags else 0
        inheritable |= bits if "i" in flags else 0
        effective |= bits if "e" in flags else 0
    # The kernel keeps one effective flag for all capabilities of a file.
    if effective not in {0, permitted | inheritable}:
        raise InputError(
            f"capabilities {', '.join(capabilities)}: either all of a file's capabilities are"
            " effective (e) or none is"
        )
    low, high = 0xFFFFFFFF, 32
    return struct.pack(
        "<5I",
        _REVISION_2 | (_EFFECTIVE if effective else 0),
        permitted & low,
        inheritable & low,
        permitted >> high,
        inheritable >> high,
    )


def _number(name: str, clause: str) -> int:
    try:
        return _CAPABILITIES.index(name.removeprefix("cap_"))
    except ValueError:
        raise InputError(f"{clause!r}: Linux has no capability {name!r}") from None
