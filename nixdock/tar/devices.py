"""Device numbers that runtimes take."""

from __future__ import annotations

from typing import Final

from nixdock.tar.kinds import Kind

__all__ = ["device_fault"]

_MOST_MAJOR: Final = (1 << 12) - 1
_MOST_MINOR: Final = (1 << 20) - 1


def device_fault(kind: bytes, device: tuple[int, int]) -> str | None:
    """Return what is wrong with the major and minor number of a member, or None."""
    major, minor = device
    if not (0 <= major <= _MOST_MAJOR and 0 <= minor <= _MOST_MINOR):
        return f"is a device {major}:{minor}, which is out of range"
    if kind == Kind.CHARACTER_DEVICE and device == (0, 0):
        return "is a device 0:0, which overlayfs takes for a whiteout"
    return None
