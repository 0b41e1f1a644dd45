"""Reading a spec from its file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from nixdock.errors import SpecError
from nixdock.spec.checks import parse_spec
from nixdock.spec.image_spec import ImageSpec
from nixdock.spec.paths import rebase_file_names
from nixdock.spec.stream_conf import is_stream_conf, parse_stream_conf
from nixdock.system.input_files import read_bytes
from nixdock.system.magic import kind_of_data
from nixdock.system.presence import is_file
from nixdock.system.strict_json import parse_strictly
from nixdock.system.writers import descriptor_of

__all__ = ["is_spec", "read_spec", "spec_of"]


def read_spec(file: Path) -> ImageSpec:
    """Read an image spec or dockerTools' stream configuration; `-` is standard input.

    Relative names of files in a spec count from the spec's own directory or, of one from a
    descriptor, from the current directory. Raise InputError if the file can't be read, and
    SpecError if it is not a valid spec.
    """
    data = read_bytes(file, "the spec")
    origin = str(file)
    if kind := kind_of_data(data):
        # A pipe can be read only once, which images need more often.
        advice = "nixdock inspect shows it" if is_file(file) else "give it as a file, not as a pipe"
        raise SpecError(f"{origin} is {kind}, not a spec; if it is an image, {advice}", path=file)
    try:
        document = parse_strictly(data)
    except ValueError as error:
        raise SpecError(f"{origin} is not valid JSON: {error}", path=file) from None
    if _is_graph(document):
        spec = {"version": 1, "name": "NAME", "closure": {"graph": origin}}
        raise SpecError(
            f"{origin} is a reference graph, not a spec; a spec names the graph, as in"
            f" {orjson.dumps(spec).decode()}",
            path=file,
        )
    if _is_plan(document):
        raise SpecError(
            f"{origin} is a plan file, not a spec; a spec names it in layering.previous", path=file
        )
    return spec_of(document, file)


def spec_of(document: object, file: Path) -> ImageSpec:
    """Return the spec in the JSON of a file; raise SpecError if it is not valid."""
    origin = str(file)
    if isinstance(document, dict) and is_stream_conf(document):
        return parse_stream_conf(document, origin)
    # A pipe such as /dev/fd/63, of `<(jq …)` in a shell, is in no directory of its own.
    directory = file.parent if descriptor_of(file) is None else Path()
    return rebase_file_names(parse_spec(document, origin), directory)


def is_spec(document: Mapping[str, Any]) -> bool:
    """Tell whether a JSON object looks like a spec, rather than like a plan or a graph."""
    if is_stream_conf(document):
        return True
    others = {"layers", "exportReferencesGraph", "info"}
    return "name" in document and document.keys().isdisjoint(others)


def _is_graph(document: object) -> bool:
    """Return whether `document` looks like one of the forms in which Nix exports a graph."""
    if isinstance(document, list):
        return True
    if not isinstance(document, dict) or "name" in document:
        return False
    is_map = bool(document) and all(key.startswith("/") for key in document)
    return is_map or "exportReferencesGraph" in document or isinstance(document.get("info"), dict)


def _is_plan(document: object) -> bool:
    return isinstance(document, dict) and "layers" in document and "name" not in document
