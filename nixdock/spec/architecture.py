"""The names of architectures: Go's, which all runtimes and registries use."""

from __future__ import annotations

from typing import Final

from nixdock.errors import InputError

__all__ = ["check_architecture"]

_GO_NAMES: Final = (
    *("386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle"),
    *("ppc64", "ppc64le", "riscv64", "s390x", "wasm"),
)
_OTHER_NAMES: Final = {
    "x86_64": "amd64",
    "x64": "amd64",
    "aarch64": "arm64",
    "armv8": "arm64",
    "armv5tel": "arm with the variant v5",
    "armv6l": "arm with the variant v6",
    "armhf": "arm with the variant v7",
    "armv7": "arm with the variant v7",
    "armv7a": "arm with the variant v7",
    "armv7l": "arm with the variant v7",
    "i386": "386",
    "i486": "386",
    "i586": "386",
    "i686": "386",
    "x86": "386",
    "loongarch64": "loong64",
    "mipsel": "mipsle",
    "mips64el": "mips64le",
    "powerpc64": "ppc64",
    "powerpc64le": "ppc64le",
}


def check_architecture(name: str) -> None:
    """Raise InputError unless `name` is one of Go's names of architectures."""
    if name in _GO_NAMES:
        return
    plain = name.lower().removesuffix("-linux").replace("x86-64", "x86_64")
    right = plain if plain in _GO_NAMES else _OTHER_NAMES.get(plain)
    hint = f"write {right}" if right else f"choose from {', '.join(_GO_NAMES)}"
    raise InputError(f"no runtime knows an architecture {name!r}: {hint}")
