"""Reading a spec from its file."""

from __future__ import annotations

from pathlib import Path

import orjson

from nixdock.errors import SpecError
from nixdock.spec.checks import parse_spec
from nixdock.spec.image_spec import ImageSpec
from nixdock.spec.paths import rebase_file_names
from nixdock.spec.stream_conf import is_stream_conf, parse_stream_conf
from nixdock.system.input_files import read_bytes

__all__ = ["read_spec"]


def read_spec(file: Path) -> ImageSpec:
    """Read an image spec or dockerTools' stream configuration; `-` is standard input.

    Relative names of files in a spec count from the spec's own directory. Raise InputError if the
    file can't be read, and SpecError if it is not a valid spec.
    """
    data = read_bytes(file, "the spec")
    origin = str(file)
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise SpecError(f"{origin} is not valid JSON: {error}", path=file) from None
    if is_stream_conf(document):
        return parse_stream_conf(document, origin)
    return rebase_file_names(parse_spec(document, origin), file.parent)
