"""Choosing among the platforms of images: their text form, and which of them fit a request."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, TypeVar

from msgspec.structs import replace

from nixdock.errors import InputError
from nixdock.oci.descriptor import Platform
from nixdock.system.text import shown

__all__ = [
    "best_fitting",
    "full_platform",
    "machine_platform",
    "parse_platform",
    "platform_text",
    "preferred_variants",
    "wanted_platform",
]

# The variant that an image without one is for.
_DEFAULT_VARIANTS: Final = {"arm64": "v8", "arm": "v7"}
# As the kernel calls machines; others have the names that Go gives them.
_MACHINES: Final = {
    "x86_64": Platform("amd64"),
    "aarch64": Platform("arm64"),
    "armv7l": Platform("arm"),
    "armv6l": Platform("arm", variant="v6"),
    "i686": Platform("386"),
    "loongarch64": Platform("loong64"),
}
_PLATFORM: Final = re.compile(
    r"([a-z0-9_]+)(?:\(([A-Za-z0-9._-]+)\))?/([a-z0-9_]+)(?:/([a-z0-9_.]+))?", re.ASCII
)

Choice = TypeVar("Choice")


def platform_text(platform: Platform) -> str:
    """Return OS[(OS_VERSION)]/ARCHITECTURE[/VARIANT], as containerd writes a platform."""
    version = f"({platform.os_version})" if platform.os_version else ""
    os, architecture = platform.os or "unknown", platform.architecture or "unknown"
    return shown("/".join(filter(None, (os + version, architecture, platform.variant))))


def parse_platform(text: str) -> Platform:
    """Return the platform that `platform_text` gives as `text`; raise InputError if it is none."""
    match = _PLATFORM.fullmatch(text)
    if match is None:
        raise InputError(
            f"{shown(text)!r} is not a platform: expected OS/ARCHITECTURE or"
            " OS/ARCHITECTURE/VARIANT, such as linux/arm64"
        )
    os, version, architecture, variant = match.groups()
    return Platform(architecture, os, variant, version)


def machine_platform(os: str, machine: str) -> Platform:
    """Return the platform of a machine, which may be named as the kernel does."""
    return replace(_MACHINES.get(machine, Platform(machine)), os=os)


def wanted_platform(text: str | None) -> Platform | None:
    """Return the platform that an option names, if it is given, as `parse_platform` does."""
    return None if text is None else parse_platform(text)


def full_platform(platform: Platform) -> Platform:
    """Return the platform with the variant that an image without one is for."""
    variant = platform.variant or _DEFAULT_VARIANTS.get(platform.architecture)
    return replace(platform, variant=variant)


def preferred_variants(architecture: str, variant: str | None) -> tuple[str, ...]:
    """Return the variants of an architecture to look for, the most preferred one first."""
    default = _DEFAULT_VARIANTS.get(architecture, "")
    if not variant:
        return ("", default)
    return (variant, "") if variant == default else (variant,)


def best_fitting(
    choices: Sequence[tuple[Platform, Choice]], wanted: Platform
) -> list[tuple[Platform, Choice]]:
    """Return the choices that fit `wanted` best, in their order; none if no platform fits.

    The OS and the architecture must be equal, if the choice names them. A variant or version of
    the OS that is wanted must be there, too; otherwise, the default variant is preferred, and
    then the first one.
    """
    fitting = [(platform, choice) for platform, choice in choices if _fits(platform, wanted)]
    for variant in preferred_variants(wanted.architecture, wanted.variant):
        same = [pair for pair in fitting if (pair[0].variant or "") == variant]
        if same:
            return same
    if wanted.variant:
        return []
    return [pair for pair in fitting if pair[0].variant == fitting[0][0].variant]


def _fits(platform: Platform, wanted: Platform) -> bool:
    return (
        platform.os in {"", wanted.os}
        and platform.architecture in {"", wanted.architecture}
        # 10.0.17763 stands for every 10.0.17763.N.
        and f"{platform.os_version or ''}.".startswith(
            f"{wanted.os_version}." if wanted.os_version else ""
        )
    )
