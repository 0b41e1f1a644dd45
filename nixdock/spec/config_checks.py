"""Checking the `config` object of a spec: its keys, their types, and its commands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from nixdock.errors import ImageError
from nixdock.oci.config_keys import canonical_config
from nixdock.oci.container_config import ContainerConfig, Healthcheck
from nixdock.spec.config_values import value_faults
from nixdock.spec.problem import spec_error, type_error
from nixdock.system.typed import MisfitError, convert

__all__ = ["checked_config", "undefined_keys", "with_labels"]

_LIKENESS: Final = 0.8


def checked_config(
    config: Mapping[str, Any], origin: str | None = None
) -> tuple[ContainerConfig, dict[str, Any]]:
    """Return the typed config object, and what no image specification defines.

    The latter has undefined keys of a `Healthcheck` in an object of that name. Raise SpecError,
    with the key at fault in `key`, if a value has the wrong type or is of no use to any runtime, or
    if a key has two spellings or is a misspelling of a defined key.
    """
    try:
        canonical = canonical_config(config)
    except ImageError as error:
        raise spec_error(str(error), origin, f"config.{error.key}") from None
    try:
        typed = convert(canonical, ContainerConfig)
    except MisfitError as error:
        raise type_error(error, origin, "config") from None
    undefined = _undefined(canonical, ContainerConfig, origin, "config")
    if typed.Healthcheck is not None:
        check = _undefined(canonical["Healthcheck"], Healthcheck, origin, "config.Healthcheck")
        undefined |= {"Healthcheck": check} if check else {}
    _check_commands(typed, origin)
    for fault in value_faults(typed):
        raise spec_error(fault.message, origin, f"config.{fault.key}")
    return typed, undefined


def with_labels(config: ContainerConfig, labels: Mapping[str, str]) -> ContainerConfig:
    """Return the config with more labels."""
    if not labels:
        return config
    return msgspec.structs.replace(config, Labels={**(config.Labels or {}), **labels})


def undefined_keys(undefined: Mapping[str, Any]) -> Iterator[str]:
    """Yield the undefined keys that `checked_config` returns, as Healthcheck.KEY if need be."""
    for key, value in undefined.items():
        if key in ContainerConfig.__struct_fields__:
            yield from (f"{key}.{inner}" for inner in value)
        else:
            yield key


def _undefined(
    values: Mapping[str, Any], kind: type[msgspec.Struct], origin: str | None, place: str
) -> dict[str, Any]:
    defined = {_plain(name): name for name in kind.__struct_fields__}
    undefined = {key: value for key, value in values.items() if key not in kind.__struct_fields__}
    for key in undefined:
        from difflib import get_close_matches  # noqa: PLC0415 (configs seldom have such keys)

        near = get_close_matches(_plain(key), defined, n=1, cutoff=_LIKENESS)
        if near:
            message = f"there is no such key; did you mean {defined[near[0]]}?"
            raise spec_error(message, origin, f"{place}.{key}")
    return undefined


def _plain(key: str) -> str:
    return key.casefold().replace("_", "").replace("-", "")


def _check_commands(config: ContainerConfig, origin: str | None) -> None:
    """Refuse a command line in one string, which would be the name of a program."""
    for key in ("Entrypoint", "Cmd"):
        command = getattr(config, key)
        if isinstance(command, str) and command.split()[1:]:
            words = msgspec.json.encode(command.split()).decode()
            message = (
                f"{command!r} would be the name of a single program; write a list, such as {words}"
            )
            raise spec_error(message, origin, f"config.{key}")
