"""The keys of the `config` object, matched as Docker and Podman match them: whatever their case."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from nixdock.errors import ImageError
from nixdock.oci.container_config import ContainerConfig, Healthcheck

__all__ = ["canonical_config", "spellings"]

_SETS = ("ExposedPorts", "Volumes")


def spellings(keys: Iterable[str], kind: type[msgspec.Struct]) -> dict[str, list[str]]:
    """Return the spellings of each field of `kind` among `keys`, and the other keys by themselves.

    Go's encoding/json, with which Docker and Podman read the object, ignores the case of keys.
    """
    fields = {name.casefold(): name for name in kind.__struct_fields__}
    found: dict[str, list[str]] = {}
    for key in keys:
        found.setdefault(fields.get(key.casefold(), key), []).append(key)
    return found


def canonical_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return `config` with the keys of ContainerConfig as they are written there.

    A null in place of the empty object in a set becomes that. Raise ImageError, with the key, if a
    key has two spellings.
    """
    canonical = _canonical(config, ContainerConfig, "")
    for key in _SETS:
        if isinstance(members := canonical.get(key), dict):
            canonical[key] = {k: {} if v is None else v for k, v in members.items()}
    if isinstance(check := canonical.get("Healthcheck"), dict):
        canonical["Healthcheck"] = _canonical(check, Healthcheck, "Healthcheck.")
    return canonical


def _canonical(
    values: Mapping[str, Any], kind: type[msgspec.Struct], prefix: str
) -> dict[str, Any]:
    canonical = {}
    for name, (key, *others) in spellings(values, kind).items():
        if others:
            raise ImageError(
                f"{key!r} and {others[0]!r} are the same key, because runtimes ignore the case of"
                " keys; keep one of them",
                key=f"{prefix}{others[0]}",
            )
        canonical[name] = values[key]
    return canonical
