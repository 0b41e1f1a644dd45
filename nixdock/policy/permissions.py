"""The rules for files that give rights away."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING, Final

from nixdock.policy.findings import Finding
from nixdock.policy.patterns import Patterns
from nixdock.policy.policy import Policy, Rule
from nixdock.system.text import path_text
from nixdock.tar.capabilities import CAPABILITY_XATTR
from nixdock.tar.header import name_text
from nixdock.tar.kinds import Kind

if TYPE_CHECKING:
    from nixdock.read.tree import MergedTree, Node

__all__ = ["permission_findings"]

_SET_USER_ID: Final = 0o4000
_SET_GROUP_ID: Final = 0o2000
_STICKY: Final = 0o1000
_OTHERS_WRITE: Final = 0o002


def permission_findings(policy: Policy, tree: MergedTree) -> Iterator[Finding]:
    """Yield the files of an image, as a container sees them, that give rights away.

    The root is one of them: whoever may write to it can replace what is in it.

    Raise InputError if comparing a path with an allowed one takes too long.
    """
    allowed = Patterns.of(policy.allowed_setuid)
    for name, node in chain([(b"", tree.root)], tree.walk()):
        rights = _rights(node) if policy.deny_setuid else ""
        if rights and allowed.covering(f"/{name_text(name)}") is None:
            yield _finding(Rule.DENY_SETUID, name, node, f"has {rights}")
        if policy.deny_world_writable and _is_world_writable(node):
            what = "directory" if node.is_directory else "file"
            text = f"is a {what} that everybody can write to"
            yield _finding(Rule.DENY_WORLD_WRITABLE, name, node, text)


def _rights(node: Node) -> str:
    """Return the rights that whoever runs a file gets from it, as text; empty if there are none."""
    if node.kind != Kind.FILE:
        return ""
    rights = []
    if node.mode & _SET_USER_ID:
        rights.append("a set-user-ID bit")
    if node.mode & _SET_GROUP_ID:
        rights.append("a set-group-ID bit")
    if any(key == CAPABILITY_XATTR for key, _ in node.xattrs):
        rights.append("capabilities")
    return " and ".join(rights)


def _is_world_writable(node: Node) -> bool:
    if not node.mode & _OTHERS_WRITE:
        return False
    # In a directory with the sticky bit, such as /tmp, only owners remove files.
    return node.kind == Kind.FILE or (node.is_directory and not node.mode & _STICKY)


def _finding(rule: Rule, name: bytes, node: Node, text: str) -> Finding:
    path = f"/{path_text(name)}"
    mode = f"mode {node.mode & 0o7777:04o}, owner {node.uid}:{node.gid}"
    layers = (node.layer + 1,) if node.layer >= 0 else ()
    return Finding(rule, f"{path} {text} ({mode})", path, layers=layers)
