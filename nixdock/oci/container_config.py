"""The `config` object of an image config, as the OCI and Docker image specs define it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

__all__ = ["ContainerConfig", "Healthcheck", "container_config"]

_Int = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class _Empty(msgspec.Struct, frozen=True):
    """The empty object; the image-spec represents a set as an object with such values."""


class Healthcheck(msgspec.Struct, frozen=True, omit_defaults=True):
    """How to check that the container works; times are nanoseconds (docker-image-spec 1.3)."""

    Test: list[str] | None = None
    Interval: _Int | None = None
    Timeout: _Int | None = None
    StartPeriod: _Int | None = None
    StartInterval: _Int | None = None
    Retries: _Int | None = None


class ContainerConfig(msgspec.Struct, frozen=True, omit_defaults=True):
    """The fields of the image-spec (config.md) and, from `Healthcheck` on, Docker's own."""

    User: str | None = None
    ExposedPorts: dict[str, _Empty] | None = None
    Env: list[str] | None = None
    Entrypoint: list[str] | str | None = None
    Cmd: list[str] | str | None = None
    Volumes: dict[str, _Empty] | None = None
    WorkingDir: str | None = None
    Labels: dict[str, str] | None = None
    StopSignal: str | None = None
    ArgsEscaped: bool | None = None
    Memory: _Int | None = None
    MemorySwap: _Int | None = None
    CpuShares: _Int | None = None
    Healthcheck: Healthcheck | None = None
    Shell: list[str] | None = None
    OnBuild: list[str] | None = None


def container_config(
    config: ContainerConfig, undefined: Mapping[str, Any] | None = None
) -> Mapping[str, Any]:
    """Return the JSON object, with commands as lists: the image-spec allows no strings.

    `undefined` has keys that ContainerConfig lacks; those of its own `Healthcheck` belong there.
    """
    document: dict[str, Any] = msgspec.to_builtins(config)
    for key, value in (undefined or {}).items():
        document[key] = {**document[key], **value} if key in document else value
    for key in ("Entrypoint", "Cmd"):
        if isinstance(document.get(key), str):
            document[key] = [document[key]]
    return document
