"""No command loses an input: no output replaces it, and standard input is not read twice."""

from __future__ import annotations

import functools
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from nixdock.cli.path_types import Destination, OutputPath
from nixdock.errors import InputError
from nixdock.oci.location import FileLocation, location_of
from nixdock.system.presence import exists, is_directory
from nixdock.system.writers import descriptor_of

if TYPE_CHECKING:
    from nixdock.spec.image_spec import ImageSpec

__all__ = ["input_files", "keep_files_of", "keeping_inputs"]

# What these options write may replace the previous image, or the plan of it.
_RENEWING: Final = frozenset({"-o", "--plan"})


def keeping_inputs(callback: Callable[..., Any]) -> Callable[..., Any]:
    """Return the callback of a command, which runs only if no output of it is an input.

    Inputs are all parameters whose type is a path or location. A previous image may be replaced,
    and an OCI layout may get more images of its own; other files do not belong into it.
    """

    @functools.wraps(callback)
    def checked(*args: Any, **values: Any) -> Any:
        _check_standard_input()
        _check_outputs((name == "previous", file) for name, file in input_files())
        return callback(*args, **values)

    return checked


def _check_standard_input() -> None:
    """Raise UsageError if standard input is several inputs of the command that runs."""
    context = click.get_current_context()
    params = {param.name: param for param in context.command.params}
    names = [
        name.upper() if isinstance(params[name], click.Argument) else params[name].opts[0]
        for name, file in input_files()
        if str(file) == "-" or descriptor_of(file) == 0
    ]
    if context.params.get("password_stdin"):
        names.append("--password-stdin")
    if len(names) > 1:
        raise click.UsageError(
            f"standard input can't be both {names[0]} and {names[1]}; name a file for one of them"
        )


def input_files() -> Iterator[tuple[str, Path]]:
    """Yield the parameter's name and the path of each file that the command that runs reads."""
    context = click.get_current_context()
    for param in context.command.params:
        if isinstance(param.type, click.Path) and not isinstance(param.type, OutputPath):
            for file in _files(context.params.get(param.name or "")):
                yield param.name or "", file


def keep_files_of(spec: ImageSpec) -> None:
    """Raise UsageError if an output of the command that runs is a file that `spec` names."""
    # Slow to load, and not needed to show the help.
    from nixdock.spec.paths import file_names

    _check_outputs(
        (key.startswith("layering.previous"), file)
        for key, text in file_names(spec)
        for file in _files(text)
    )


def _check_outputs(inputs: Iterable[tuple[bool, Path]]) -> None:
    """Raise UsageError if an output of the command that runs is one of `inputs`.

    With each input stands whether it is a previous image.
    """
    context = click.get_current_context()
    existing = [(previous, file, _status(file, 0)) for previous, file in inputs]
    images = [file for _, file, read in existing if _is_image(file, read)]
    for param in context.command.params:
        if not isinstance(param.type, OutputPath):
            continue
        renews = not _RENEWING.isdisjoint(param.opts)
        for target in _files(context.params.get(param.name or "")):
            _check_is_outside(target, images)
            written = _status(target, 1)
            if written is None or (isinstance(param.type, Destination) and is_directory(target)):
                continue
            for previous, file, read in existing:
                if read and os.path.samestat(read, written) and not (previous and renews):
                    text = "standard input" if str(file) == "-" else str(file)
                    raise click.UsageError(
                        f"the output {target} is also the input {text}, which would be lost; name"
                        " another output"
                    )


def _check_is_outside(target: Path, images: Iterable[Path]) -> None:
    """Raise UsageError if `target` would be a file in a directory that is an image."""
    if descriptor_of(target) is not None:
        return
    place = Path(os.path.realpath(target))
    for image in images:
        if Path(os.path.realpath(image)) in place.parents:
            raise click.UsageError(
                f"the output {target} is in the input {image}, of which it would be a part or"
                " replace one; name another output"
            )


def _is_image(file: Path, status: os.stat_result | None) -> bool:
    """Return whether a file is a directory with the files of an image."""
    if status is None or not stat.S_ISDIR(status.st_mode):
        return False
    # Slow to load, and not needed if nothing is a directory.
    from nixdock.oci.layout import DOCKER_MANIFEST, INDEX

    return any(exists(file / name) for name in (INDEX, DOCKER_MANIFEST))


def _files(value: object) -> Iterator[Path]:
    """Yield the files that the value of a parameter names, which may be one of several."""
    match value:
        case Path():
            yield value
        case FileLocation(path):
            yield path
        case str():
            # What is no location is refused by the command itself.
            with suppress(InputError):
                yield from _files(location_of(value))
        case tuple():
            for item in value:
                yield from _files(item)


def _status(path: Path, standard: int) -> os.stat_result | None:
    """Return the status of a file or directory, or None if nothing can be lost there.

    `standard` is the descriptor that `-` stands for.
    """
    descriptor = standard if str(path) == "-" else descriptor_of(path)
    try:
        status = path.stat() if descriptor is None else os.fstat(descriptor)
    except OSError:
        return None
    is_kept = stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)
    return status if is_kept else None
