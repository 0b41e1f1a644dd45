"""Parsing a spec, and checking what its types can't express."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

import msgspec

from nixdock.errors import InputError, SpecError
from nixdock.nix.hashes import Hash
from nixdock.nix.store_path import StorePath
from nixdock.oci.container_config import ContainerConfig
from nixdock.oci.reference import Reference
from nixdock.spec.image_spec import ImageSpec, StorePathSpec
from nixdock.spec.paths import file_names
from nixdock.spec.times import parse_time
from nixdock.tar.capabilities import capability_xattr

__all__ = [
    "check_spec",
    "checked_config",
    "errors_at_key",
    "parse_spec",
    "type_error",
]


def parse_spec(document: Any, origin: str) -> ImageSpec:
    """Convert a parsed JSON document to a checked spec.

    Raise SpecError, with `origin` in `path` and the key at fault in `key`, if it is not valid.
    """
    try:
        spec = msgspec.convert(document, ImageSpec)
    except msgspec.ValidationError as error:
        raise type_error(error, origin) from None
    check_spec(spec, origin)
    return spec


def check_spec(spec: ImageSpec, origin: str) -> None:
    """Check what the types can't express; raise SpecError as `parse_spec` does."""
    _check_names_and_times(spec, origin)
    _check_files(spec, origin)
    _check_store_layers(spec, origin)
    for path, info in spec.store_paths.items():
        with errors_at_key(f"store_paths.{path}", origin):
            _check_store_path(path, info, spec.store.directory)
    _check_combinations(spec, origin)
    _check_perms(spec, origin)
    checked_config(spec.config, origin)


def _check_names_and_times(spec: ImageSpec, origin: str) -> None:
    with errors_at_key("name", origin):
        Reference.of(spec.name, "latest")
    with errors_at_key("tag", origin):
        Reference.of(spec.name, spec.tag)
    if spec.created is not None:
        with errors_at_key("created", origin):
            parse_time(spec.created)
    with errors_at_key("store.mtime", origin):
        parse_time(spec.store.mtime)


def _check_files(spec: ImageSpec, origin: str) -> None:
    for key, file in file_names(spec):
        if "\0" in file:
            raise _spec_error(f"{file!r} can't be the name of a file", origin, key)


def _check_store_layers(spec: ImageSpec, origin: str) -> None:
    for i, paths in enumerate(spec.store_layers or []):
        for j, path in enumerate(paths):
            with errors_at_key(f"store_layers[{i}][{j}]", origin):
                StorePath.parse(path, spec.store.directory)
    planned: set[str] = set()
    for path in chain.from_iterable(spec.store_layers or []):
        if path in planned:
            raise _spec_error(f"{path} appears twice", origin, "store_layers")
        planned.add(path)


def _check_store_path(path: str, info: StorePathSpec, store_dir: str) -> None:
    StorePath.parse(path, store_dir)
    if info.nar_hash is not None:
        Hash.parse(info.nar_hash)
    for reference in info.references or []:
        StorePath.parse(reference, store_dir)
    if info.deriver is not None:
        StorePath.parse(info.deriver)


def _check_combinations(spec: ImageSpec, origin: str) -> None:
    if spec.closure is not None and spec.store_layers is not None:
        raise _spec_error(
            "can't be combined with closure; omit one of them", origin, "store_layers"
        )
    if spec.top_layer is not None:
        for key in ("contents", "extra_commands", "fake_root_commands", "run_as_root"):
            if getattr(spec, key):
                raise _spec_error(
                    "can't be combined with top_layer, which replaces it", origin, key
                )


def _check_perms(spec: ImageSpec, origin: str) -> None:
    for i, rule in enumerate(spec.perms):
        key = f"perms[{i}]"
        if rule.path is None and rule.regex is None:
            raise _spec_error("expected a path, a regex or both, to match files", origin, key)
        try:
            re.compile(rule.regex or "")
        except re.error as error:
            raise _spec_error(str(error), origin, f"{key}.regex") from None
        with errors_at_key(f"{key}.capabilities", origin):
            capability_xattr(rule.capabilities)


def checked_config(
    config: dict[str, Any], origin: str | None = None
) -> tuple[ContainerConfig, list[str]]:
    """Return the typed config object, and the keys that no image specification defines.

    Raise SpecError, with the key at fault in `key`, if a value has the wrong type.
    """
    try:
        typed = msgspec.convert(config, ContainerConfig)
    except msgspec.ValidationError as error:
        raise type_error(error, origin, "config") from None
    defined = ContainerConfig.__struct_fields__
    undefined = [key for key in config if key not in defined]
    if typed.Healthcheck is not None:
        defined = typed.Healthcheck.__struct_fields__
        undefined += [f"Healthcheck.{key}" for key in config["Healthcheck"] if key not in defined]
    return typed, undefined


@contextmanager
def errors_at_key(key: str, origin: str) -> Iterator[None]:
    """Turn an InputError in the block into a SpecError that names the spec and the key."""
    try:
        yield
    except InputError as error:
        raise _spec_error(str(error), origin, key) from None


def type_error(error: msgspec.ValidationError, origin: str | None, parent: str = "") -> SpecError:
    """Turn msgspec's "MESSAGE - at `$.KEY`" into a SpecError; the KEY is relative to `parent`."""
    message, _, path = str(error).partition(" - at `$")
    key = parent + path.rstrip("`")
    return _spec_error(message, origin, key.lstrip("."))


def _spec_error(message: str, origin: str | None, key: str) -> SpecError:
    """Return the error "ORIGIN: KEY: MESSAGE"; `origin` is the spec's file, if it is known."""
    subject = f"{key}: " if key else ""
    return SpecError(f"{origin or 'the spec'}: {subject}{message}", path=origin, key=key or None)
