"""The permission rules of an image spec."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nixdock.spec.image_spec import ImageSpec

if TYPE_CHECKING:
    from nixdock.tar.permissions import PermissionRule

__all__ = ["permission_rules"]


def permission_rules(spec: ImageSpec) -> tuple[PermissionRule, ...]:
    """Return the permission rules of `spec`."""
    if not spec.perms:
        return ()
    from nixdock.tar.permissions import PermissionRule  # noqa: PLC0415 (few images have rules)

    return tuple(
        PermissionRule(
            path=rule.path,
            regex=rule.regex,
            mode=None if rule.mode is None else int(rule.mode, 8),
            uid=rule.uid,
            gid=rule.gid,
            uname=rule.uname,
            gname=rule.gname,
            capabilities=tuple(rule.capabilities),
            optional=rule.optional,
        )
        for rule in spec.perms
    )
