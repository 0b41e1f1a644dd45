"""Errors of a spec whose file is not known where they are found: the command line names it."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

import click

from nixdock.cli.overwriting import input_files
from nixdock.errors import InputError
from nixdock.system.presence import is_file

__all__ = ["naming_specs"]

# The options that replace the value of a key, with the parameters that they set.
_OPTIONS: Final = {
    re.compile(r"closure\.graph"): "graph",
    re.compile(r"layering\.previous(\[\d+\])?"): "previous",
}
# Images have other sizes, and need not be read.
_MOST_SIZE: Final = 1 << 26


def naming_specs(callback: Callable[..., Any]) -> Callable[..., Any]:
    """Return the callback of a command, whose errors at a key name the spec, or the option.

    If the command has several specs, what it calls has named the spec, or the key stands alone.
    """

    @functools.wraps(callback)
    def named(*args: Any, **values: Any) -> Any:
        try:
            return callback(*args, **values)
        except InputError as error:
            key, message = error.key, str(error)
            # Checks of the document alone have named the file already.
            if key and re.match(rf"{re.escape(key)}(?=[: ])", message):
                params = click.get_current_context().params
                for pattern, option in _OPTIONS.items():
                    if pattern.fullmatch(key) and params.get(option):
                        error.args = (f"--{option}: {message.removeprefix(f'{key}: ')}",)
                        raise
                specs = list(_specs())
                if len(specs) == 1:
                    file, has_keys = specs[0]
                    rest = message if has_keys else message.removeprefix(f"{key}: ")
                    error.args = (f"{file}: {rest}",)
            raise

    return named


def _specs() -> Iterator[tuple[str, bool]]:
    """Yield the names of the specs among the files that the command has been given.

    With each name stands whether the keys are its own: dockerTools' configurations have others.
    """
    import orjson

    from nixdock.spec.reading import is_spec
    from nixdock.spec.stream_conf import is_stream_conf

    for name, file in input_files():
        if name in _OPTIONS.values():
            continue
        try:
            # What has been read from a pipe or a terminal can't be read again.
            is_again = str(file) != "-" and file.stat().st_size <= _MOST_SIZE and is_file(file)
            document = orjson.loads(file.read_bytes()) if is_again else {}
        except (OSError, ValueError):
            continue
        is_spec_input = str(file) == "-" and name in {"source", "spec"}
        if is_spec_input or (isinstance(document, dict) and is_spec(document)):
            yield str(file), not is_stream_conf(document)
