"""File capabilities as an extended attribute."""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from typing import Final

from nixdock.errors import InputError

__all__ = ["CAPABILITY_XATTR", "capability_xattr", "is_capability_xattr"]

CAPABILITY_XATTR: Final = b"security.capability"
"""The extended attribute with a file's capabilities."""

# The index of a capability is its number (include/uapi/linux/capability.h).
_CAPABILITIES: Final = (
    "chown", "dac_override", "dac_read_search", "fowner", "fsetid", "kill", "setgid", "setuid",
    "setpcap", "linux_immutable", "net_bind_service", "net_broadcast", "net_admin", "net_raw",
    "ipc_lock", "ipc_owner", "sys_module", "sys_rawio", "sys_chroot", "sys_ptrace", "sys_pacct",
    "sys_admin", "sys_boot", "sys_nice", "sys_resource", "sys_time", "sys_tty_config", "mknod",
    "lease", "audit_write", "audit_control", "setfcap", "mac_override", "mac_admin", "syslog",
    "wake_alarm", "block_suspend", "audit_read", "perfmon", "bpf", "checkpoint_restore",
)  # fmt: skip
# The attribute's layout is from the same file: struct vfs_cap_data.
_REVISION_2: Final = 0x02000000
_EFFECTIVE: Final = 1
# The sizes in bytes by revision; Linux stores no others.
_SIZES: Final = {_REVISION_2: 20, 0x03000000: 24}
_CLAUSE: Final = re.compile(r"(?P<names>[a-z_,]+)(?:[=+](?P<flags>[eip]+))?", re.ASCII)


def capability_xattr(capabilities: Sequence[str]) -> bytes:
    """Return the value of `security.capability` for clauses such as `cap_net_raw=ep`.

    A clause has names, separated by commas, and some of the flags e, i and p (default: ep). Raise
    InputError for a malformed clause, an unknown capability, or flags e that differ.
    """
    permitted = inheritable = effective = 0
    for clause in capabilities:
        match = _CLAUSE.fullmatch(clause.lower())
        if match is None:
            raise InputError(
                f"{clause!r} is not a capability; expected something like cap_net_raw=ep"
            )
        bits = sum(1 << _number(name, clause) for name in match["names"].split(","))
        flags = match["flags"] or "ep"
        permitted |= bits if "p" in flags else 0
        inheritable |= bits if "i" in flags else 0
        effective |= bits if "e" in flags else 0
    # A file has one effective flag for all of its capabilities.
    if effective not in {0, permitted | inheritable}:
        raise InputError(
            f"capabilities {', '.join(capabilities)}: either all capabilities of a file must be"
            " effective (e) or none"
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


def is_capability_xattr(value: bytes) -> bool:
    """Tell whether Linux takes a value for `security.capability`."""
    revision = int.from_bytes(value[:4], "little") & ~_EFFECTIVE
    return not value or _SIZES.get(revision) == len(value)


def _number(name: str, clause: str) -> int:
    try:
        return _CAPABILITIES.index(name.removeprefix("cap_"))
    except ValueError:
        raise InputError(f"{clause!r}: Linux has no capability {name!r}") from None
