"""JSON that people read, on a terminal too."""

from __future__ import annotations

import json
import re
from typing import Any, Final

import orjson

__all__ = ["json_text", "printable_json"]

_FORMAT: Final = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
_UNUSUAL: Final = re.compile(r"[^ -~\n]")


def json_text(document: object) -> bytes:
    """Return `document` as indented JSON with a newline at the end, as `printable_json` has it.

    Text that is not Unicode, such as the names of some files, has escapes with a backslash. Sums of
    sizes that someone made up may need more than 64 bits.
    """
    try:
        data = orjson.dumps(document, option=_FORMAT)
    except orjson.JSONEncodeError:
        # orjson writes neither such text nor such integers.
        data = f"{json.dumps(_unicode(document), indent=2, ensure_ascii=False)}\n".encode()
    return printable_json(data)


def printable_json(data: bytes) -> bytes:
    """Return the same JSON with every character escaped that a terminal may act on."""
    if data.isascii() and b"\x7f" not in data:
        return data
    return _UNUSUAL.sub(_escaped, data.decode()).encode()


def _escaped(found: re.Match[str]) -> str:
    # Outside of texts, JSON has no such character.
    character = found[0]
    return character if character.isprintable() else json.dumps(character)[1:-1]


def _unicode(value: Any) -> Any:
    match value:
        case str():
            return value.encode("utf-8", "backslashreplace").decode()
        case dict():
            return {_unicode(key): _unicode(each) for key, each in value.items()}
        case list() | tuple():
            return [_unicode(each) for each in value]
    return value
