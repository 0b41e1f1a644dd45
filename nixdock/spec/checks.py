"""Parsing a spec, and checking what its types can't express."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any, Final

from nixdock.nix.hashes import Hash
from nixdock.nix.store_path import DEFAULT_STORE_DIR, StorePath
from nixdock.oci.location import FileLocation, parse_location
from nixdock.oci.own_keys import LAYER_KEY
from nixdock.oci.reference import Reference
from nixdock.oci.registry_reference import RegistryReference
from nixdock.spec.architecture import check_architecture
from nixdock.spec.closure_spec import StorePathSpec
from nixdock.spec.config_checks import checked_config
from nixdock.spec.image_spec import ImageSpec
from nixdock.spec.layering_spec import LayeringSpec
from nixdock.spec.paths import file_names, is_in_store
from nixdock.spec.problem import errors_at_key, spec_error, type_error
from nixdock.spec.provenance_spec import check_public_uri
from nixdock.spec.times import parse_time
from nixdock.system.typed import MisfitError, convert
from nixdock.tar.capabilities import capability_xattr

__all__ = ["check_spec", "parse_spec"]

_OPTIONS: Final = {
    "groups": "explicit",
    "pipeline": "pipeline",
    "plan": "explicit",
    "previous": "stable",
    "rest": "explicit",
    "volatile": "stable",
}
"""The keys of a layering, with the strategy that each is for."""


def parse_spec(document: Any, origin: str) -> ImageSpec:
    """Convert a parsed JSON document to a checked spec.

    Raise SpecError, with `origin` in `path` and the key at fault in `key`, if it is not valid.
    """
    try:
        spec = convert(document, ImageSpec)
    except MisfitError as error:
        raise type_error(error, origin) from None
    check_spec(spec, origin)
    return spec


def check_spec(spec: ImageSpec, origin: str) -> None:
    """Check what the types can't express; raise SpecError as `parse_spec` does."""
    _check_names_and_times(spec, origin)
    _check_files(spec, origin)
    _check_contents(spec, origin)
    _check_layering(spec.layering, origin)
    _check_store_layers(spec, origin)
    for path, info in spec.store_paths.items():
        with errors_at_key(f"store_paths.{path}", origin):
            _check_store_path(path, info, spec.store.directory)
    if spec.provenance is not None and spec.provenance.flake is not None:
        with errors_at_key("provenance.flake", origin):
            check_public_uri(spec.provenance.flake)
    _check_combinations(spec, origin)
    _check_perms(spec, origin)
    config, _ = checked_config(spec.config, origin)
    _check_annotations(spec, config.Labels or {}, origin)


def _check_annotations(spec: ImageSpec, labels: Mapping[str, str], origin: str) -> None:
    for key in ("labels", "annotations", "layer_annotations"):
        if "" in getattr(spec, key):
            raise spec_error("a key is empty", origin, key)
    for key, value in spec.labels.items():
        if labels.get(key, value) != value:
            message = f"config.Labels has the value {labels[key]!r} for it; state one of the two"
            raise spec_error(message, origin, f"labels.{key}")
    if LAYER_KEY in spec.layer_annotations:
        message = "nixdock has this annotation itself, to recognise the layer"
        raise spec_error(message, origin, f"layer_annotations.{LAYER_KEY}")


def _check_names_and_times(spec: ImageSpec, origin: str) -> None:
    with errors_at_key("architecture", origin):
        check_architecture(spec.architecture)
    with errors_at_key("name", origin):
        Reference.of(spec.name, "latest")
    with errors_at_key("tag", origin):
        Reference.of(spec.name, spec.tag)
    for i, text in enumerate(spec.extra_tags):
        with errors_at_key(f"extra_tags[{i}]", origin):
            Reference.tagged(spec.name, text)
    if spec.created is not None:
        with errors_at_key("created", origin):
            parse_time(spec.created)
    _check_store_directory(spec.store.directory, origin)
    with errors_at_key("store.mtime", origin):
        parse_time(spec.store.mtime)


def _check_store_directory(directory: str, origin: str) -> None:
    """Refuse what is no plain path: directories are made there, below that of an image's files."""
    parts = directory.split("/")[1:]
    is_plain = directory.startswith("/") and not {"", ".", ".."} & {*parts}
    if not (is_plain and directory.isprintable()):
        message = f"{directory!r} is not a plain absolute path, such as {DEFAULT_STORE_DIR}"
        raise spec_error(message, origin, "store.directory")


def _check_files(spec: ImageSpec, origin: str) -> None:
    for key, file in file_names(spec):
        if "\0" in file:
            raise spec_error(f"{file!r} can't be the name of a file", origin, key)
    if spec.from_image is not None:
        with errors_at_key("from_image.path", origin):
            location = parse_location(spec.from_image.path)
        for key in ("name", "tag"):
            if getattr(spec.from_image, key) and not isinstance(location, FileLocation):
                message = "is for files with several images; omit it, and use the tag in the path"
                raise spec_error(message, origin, f"from_image.{key}")
        if spec.from_image.reference is not None:
            with errors_at_key("from_image.reference", origin):
                RegistryReference.parse(spec.from_image.reference)
    for key, text in spec.layering.previous_by_key.items():
        with errors_at_key(key, origin):
            parse_location(text)


def _check_contents(spec: ImageSpec, origin: str) -> None:
    """Refuse contents outside of the store, unless they are copied: links to them would dangle.

    An empty name would be the spec's own directory.
    """
    if "" in spec.contents:
        key = f"contents[{spec.contents.index('')}]"
        raise spec_error("is empty, and so names no file", origin, key)
    if spec.copy_contents:
        return
    for i, content in enumerate(spec.contents):
        if not is_in_store(content, spec.store.directory):
            message = (
                f"{content!r} is not in the store {spec.store.directory}, so the image would have"
                " links to files that it lacks; add it to the store, or set copy_contents"
            )
            raise spec_error(message, origin, f"contents[{i}]")


def _check_layering(layering: LayeringSpec, origin: str) -> None:
    """Refuse options that the strategy ignores."""
    defaults = LayeringSpec()
    for key, strategy in _OPTIONS.items():
        is_given = getattr(layering, key) != getattr(defaults, key)
        if is_given and strategy not in layering.strategies:
            message = (
                f"is for the strategy {strategy}, but the strategy is {layering.strategy}; change"
                " layering.strategy, or omit this key"
            )
            raise spec_error(message, origin, f"layering.{key}")


def _check_store_layers(spec: ImageSpec, origin: str) -> None:
    for i, paths in enumerate(spec.store_layers or []):
        for j, path in enumerate(paths):
            with errors_at_key(f"store_layers[{i}][{j}]", origin):
                StorePath.parse(path, spec.store.directory)
    planned: set[str] = set()
    for path in chain.from_iterable(spec.store_layers or []):
        if path in planned:
            raise spec_error(f"{path} appears twice", origin, "store_layers")
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
    closure = spec.closure
    if closure is not None:
        named = closure.graph is not None or closure.roots
        if spec.store_layers is not None and (named or closure.keys or closure.exclude):
            message = "can't be combined with closure; omit one of them"
            raise spec_error(message, origin, "store_layers")
        if spec.store_layers is None and not named:
            raise spec_error("expected a graph, or roots", origin, "closure")
        if closure.keys and closure.graph is None:
            raise spec_error("is for a graph; add it, or omit this key", origin, "closure.keys")
    if spec.top_layer is not None:
        for key in ("contents", "extra_commands", "fake_root_commands", "run_as_root"):
            if getattr(spec, key):
                raise spec_error("can't be combined with top_layer, which replaces it", origin, key)


def _check_perms(spec: ImageSpec, origin: str) -> None:
    for i, rule in enumerate(spec.perms):
        key = f"perms[{i}]"
        if rule.path is None and rule.regex is None:
            raise spec_error("expected a path, a regex or both, to match files", origin, key)
        if rule.regex is not None:
            from nixdock.system.regexes import compile_regex  # noqa: PLC0415 (few rules have one)

            with errors_at_key(f"{key}.regex", origin):
                compile_regex(rule.regex)
        with errors_at_key(f"{key}.capabilities", origin):
            capability_xattr(rule.capabilities)
