"""Reading a spec from its file."""

from __future__ import annotations

from pathlib import Path

import orjson

from nixdock.errors import SpecError
from nixdock.spec.checks import parse_spec
from nixdock.spec.image_spec import ImageSpec
from nixdock.spec.paths import rebased
from nixdock.spec.stream_conf import is_stream_conf, parse_stream_conf
from nixdock.system.input_files import read_bytes

__all__ = ["read_spec"]


def read_spec(file: Path) -> ImageSpec:
    """Read an image spec or dockerTools' stream configuration; raise SpecError.

    Relative names of files in a spec count from the spec's own directory.
    """
    data = read_bytes(file, "the spec")
    origin = str(file)
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise SpecError(f"{origin}: not valid JSON: {error}") from None
    if is_stream_conf(document):
        return parse_stream_conf(document, origin)
    return rebased(parse_spec(data, origin), file.parent)
