"""Errors of a spec, which name its file and the key at fault."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from nixdock.errors import InputError, SpecError
from nixdock.system.typed import MisfitError

__all__ = ["below_key", "errors_at_key", "spec_error", "type_error"]

_UNKNOWN: Final = re.compile(r"Object contains unknown field `(.*?)`(?:;.*)?", re.DOTALL)
_PATTERNS: Final = {
    "^/": "a path that starts with /",
    "^/.+[^/]$": "an absolute path, without a slash at its end",
    "^[0-7]{1,4}$": 'an octal mode such as "0755"',
    "^[A-Za-z][A-Za-z0-9+.-]*:.": "a URI such as https://example.org/x",
}
"""What the patterns in the types of a spec stand for."""

_DOCKER_TOOLS: Final = {
    "copyToRoot": "contents",
    "fromImageName": "from_image.name",
    "fromImageTag": "from_image.tag",
    "includeNixDB": "nix_db",
    "keepContentsDirlinks": "keep_directory_links",
    "layeringPipeline": "layering.pipeline",
    "mtime": "store.mtime",
    "uid": "owner.uid, and store.uid",
    "gid": "owner.gid, and store.gid",
    "uname": "store.uname",
    "gname": "store.gname",
}
"""The arguments of dockerTools' functions whose keys in a spec have other names."""


@contextmanager
def errors_at_key(key: str, origin: str) -> Iterator[None]:
    """Turn an InputError in the block into a SpecError that names the spec and the key."""
    try:
        yield
    except InputError as error:
        raise spec_error(str(error), origin, key) from None


@contextmanager
def below_key(key: str) -> Iterator[None]:
    """Let InputErrors in the block begin with the key, whose value they are about.

    If they begin with a key already, that is relative to `key`. The spec's file is not known here;
    the command line names it.
    """
    try:
        yield
    except InputError as error:
        message, inner = str(error), error.key
        if inner and message.startswith(f"{inner}: "):
            error.args, error.key = (f"{key}.{message}",), f"{key}.{inner}"
        else:
            error.args, error.key = (f"{key}: {message}",), key
        raise


def type_error(error: MisfitError, origin: str | None, parent: str = "") -> SpecError:
    """Return the SpecError for a value of the wrong type; its key is relative to `parent`."""
    dot = "." if parent and error.key and not error.key.startswith("[") else ""
    key = f"{parent}{dot}{error.key}"
    return spec_error(_explained(error.message, key), origin, key)


def _explained(message: str, key: str) -> str:
    """Return a message on a value of the wrong type, in the words of specs."""
    if key == "version":
        return "this nixdock reads specs of version 1; write 1, or use a newer nixdock"
    for pattern, words in _PATTERNS.items():
        message = message.replace(f"`str` matching regex {pattern!r}", words)
    unknown = _UNKNOWN.fullmatch(message)
    if unknown and not key and unknown[1] in _DOCKER_TOOLS:
        return f"{message.partition(';')[0]}; a spec has {_DOCKER_TOOLS[unknown[1]]} for it"
    return message


def spec_error(message: str, origin: str | None, key: str) -> SpecError:
    """Return the error "ORIGIN: KEY: MESSAGE"; `origin` is the spec's file, if it is known."""
    subject = f"{key}: " if key else ""
    return SpecError(f"{origin or 'the spec'}: {subject}{message}", path=origin, key=key or None)
