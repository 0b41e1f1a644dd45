"""Errors of a spec, which name its file and the key at fault."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from nixdock.errors import InputError, SpecError
from nixdock.system.typed import MisfitError

__all__ = ["below_key", "errors_at_key", "spec_error", "type_error"]


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
    return spec_error(error.message, origin, f"{parent}{dot}{error.key}")


def spec_error(message: str, origin: str | None, key: str) -> SpecError:
    """Return the error "ORIGIN: KEY: MESSAGE"; `origin` is the spec's file, if it is known."""
    subject = f"{key}: " if key else ""
    return SpecError(f"{origin or 'the spec'}: {subject}{message}", path=origin, key=key or None)
