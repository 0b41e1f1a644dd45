"""What the types of a spec can't say, and reading one."""

from __future__ import annotations

import re
from itertools import chain
from typing import Any

import msgspec

from nixdock.errors import InputError, SpecError
from nixdock.nix.hashes import Hash
from nixdock.nix.store_path import StorePath
from nixdock.oci.container_config import ContainerConfig
from nixdock.oci.reference import Reference
from nixdock.spec.image_spec import ImageSpec
from nixdock.spec.paths import file_names
from nixdock.spec.times import parse_time
from nixdock.tar.capabilities import capability_xattr

__all__ = ["check_spec", "checked_config", "key_first", "parse_spec"]


def parse_spec(data: bytes, origin: str) -> ImageSpec:
    """Read and check a spec; raise SpecError that names `origin` and the key at fault."""
    try:
        spec = msgspec.json.decode(data, type=ImageSpec)
    except msgspec.ValidationError as error:
        raise SpecError(f"{origin}: {key_first(str(error))}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SpecError(f"{origin}: not valid JSON: {error}") from None
    except RecursionError:
        raise SpecError(f"{origin}: nested too deeply") from None
    check_spec(spec, origin)
    return spec


def check_spec(spec: ImageSpec, origin: str) -> None:
    """Check what the types can't say; raise SpecError that names `origin` and the key."""
    _check_values(spec, origin)
    for key, file in file_names(spec):
        if "\0" in file:
            raise SpecError(f"{origin}: {key}: {file!r} can't be a file's name")
    planned: set[str] = set()
    for path in chain.from_iterable(spec.store_layers or []):
        if path in planned:
            raise SpecError(f"{origin}: store_layers: {path} stands twice")
        planned.add(path)
    if spec.closure is not None and spec.store_layers is not None:
        raise SpecError(f"{origin}: store_layers: not together with closure; leave one out")
    if spec.top_layer is not None:
        for key in ("contents", "extra_commands", "fake_root_commands", "run_as_root"):
            if getattr(spec, key):
                raise SpecError(f"{origin}: {key}: not together with top_layer, which replaces it")
    _check_perms(spec, origin)
    checked_config(spec.config, origin)


def _check_values(spec: ImageSpec, origin: str) -> None:
    place = "name"
    try:
        Reference.of(spec.name, "latest")
        place = "tag"
        _ = spec.reference
        place = "created"
        if spec.created is not None:
            parse_time(spec.created)
        place = "store.mtime"
        parse_time(spec.store.mtime)
        for i, paths in enumerate(spec.store_layers or []):
            for j, path in enumerate(paths):
                place = f"store_layers[{i}][{j}]"
                StorePath.parse(path, spec.store.directory)
        for path, known in spec.store_paths.items():
            place = f"store_paths.{path}"
            StorePath.parse(path, spec.store.directory)
            if known.nar_hash is not None:
                Hash.parse(known.nar_hash)
            for reference in known.references or []:
                StorePath.parse(reference, spec.store.directory)
            if known.deriver is not None:
                StorePath.parse(known.deriver)
    except InputError as error:
        raise SpecError(f"{origin}: {place}: {error}") from None


def _check_perms(spec: ImageSpec, origin: str) -> None:
    for i, rule in enumerate(spec.perms):
        place = f"{origin}: perms[{i}]"
        if rule.path is None and rule.regex is None:
            raise SpecError(f"{place}: it has neither path nor regex, so it is for no file")
        try:
            re.compile(rule.regex or "")
            capability_xattr(rule.capabilities)
        except re.error as error:
            raise SpecError(f"{place}.regex: {error}") from None
        except InputError as error:
            raise SpecError(f"{place}.capabilities: {error}") from None


def key_first(message: str, prefix: str = "") -> str:
    """Turn msgspec's "MESSAGE - at `$.KEY`" into "KEY: MESSAGE"."""
    text, _, place = message.partition(" - at `$")
    key = prefix + place.rstrip("`")
    return f"{key.lstrip('.')}: {text}" if key else text


def checked_config(config: dict[str, Any], origin: str) -> tuple[ContainerConfig, list[str]]:
    """Return the typed config object and the keys that no image spec defines; raise SpecError."""
    try:
        typed = msgspec.convert(config, ContainerConfig)
    except msgspec.ValidationError as error:
        raise SpecError(f"{origin}: {key_first(str(error), 'config')}") from None
    known = ContainerConfig.__struct_fields__
    unknown = [key for key in config if key not in known]
    if typed.Healthcheck is not None:
        known = typed.Healthcheck.__struct_fields__
        unknown += [f"Healthcheck.{key}" for key in config["Healthcheck"] if key not in known]
    return typed, unknown
