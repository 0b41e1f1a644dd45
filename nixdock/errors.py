"""The exceptions that nixdock raises.

::

    NixdockError          a job failed; exit status 1
    ├── InputError        an input or an option is wrong; exit status 2
    │   ├── ClosureError  a reference graph breaks the closure contract
    │   ├── SpecError     an image spec or stream configuration is not valid
    │   ├── LayeringError the settings of a layering, or a plan file, are not valid
    │   └── PlanError     no plan fits the layer budget
    ├── StoreError        a file in a Nix store can't be read or is malformed
    │   └── MissingPathsError  no store has paths that are needed
    ├── PackError         a file that goes into a layer can't be read, changed, or fits no layer
    ├── ScriptError       a script of the image failed, or can't be run or confined
    ├── ToolError         a program or library that the job needs is missing or failed
    ├── ImageError        an existing image is damaged, or is not an image
    ├── SignatureError    a key has not signed an image, or the attestation that was asked for
    ├── RemoteError       a server can't be reached, or refuses a request
    │   ├── RegistryError a registry
    │   └── CacheError    a binary cache, or it sends something else than was promised
    └── OutputError       the result can't be written

Every message names its subject, so it can be shown as it is. What a program may want to act on is
in fields: `path`, `key`, `digest` and `place`, each None where it does not apply.
"""

from __future__ import annotations

import os

# As the constant of `typing`, which is slow to load: Ctrl-C would meanwhile show a traceback.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import ClassVar

__all__ = [
    "CacheError",
    "ClosureError",
    "ImageError",
    "InputError",
    "LayeringError",
    "MissingPathsError",
    "NixdockError",
    "OutputError",
    "PackError",
    "PlanError",
    "RegistryError",
    "RemoteError",
    "ScriptError",
    "SignatureError",
    "SpecError",
    "StoreError",
    "ToolError",
]


class NixdockError(Exception):
    """Base of every error that nixdock reports; `exit_status` is that of the command line.

    `path` is the file or store path at fault, `key` the key in a JSON document, such as
    `perms[0].mode`, `digest` the digest that was found, and `place` where in an image or document
    the fault is, for people.
    """

    exit_status: ClassVar[int] = 1

    def __init__(
        self,
        message: str,
        *,
        path: str | os.PathLike[str] | None = None,
        key: str | None = None,
        digest: str | None = None,
        place: str | None = None,
    ) -> None:
        super().__init__(message)
        self.path = None if path is None else os.fspath(path)
        self.key = key
        self.digest = digest
        self.place = place

    def __reduce__(self) -> tuple[object, ...]:
        """Let worker processes raise errors of all classes, whatever their constructors need."""
        return _restored, (type(self), self.args, self.__dict__)


def _restored(
    kind: type[NixdockError], args: tuple[object, ...], fields: dict[str, object]
) -> NixdockError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(fields)
    return error


class InputError(NixdockError):
    """An input or an option is wrong."""

    exit_status: ClassVar[int] = 2


class ClosureError(InputError):
    """A reference graph breaks the closure contract."""


class SpecError(InputError):
    """An image spec or stream configuration is not valid."""


class LayeringError(InputError):
    """The settings of a layering, or a plan file, are not valid."""


class PlanError(InputError):
    """No plan fits the layer budget."""


class StoreError(NixdockError):
    """A file in a Nix store can't be read or is malformed."""


class MissingPathsError(StoreError):
    """No store has the `paths`, or none that is trusted."""

    def __init__(self, message: str, *, paths: Sequence[str]) -> None:
        super().__init__(message, path=paths[0])
        self.paths = tuple(paths)


class PackError(NixdockError):
    """A file that goes into a layer can't be read, changed meanwhile, or fits no layer."""


class ScriptError(NixdockError):
    """A script of the image failed, or can't be run or confined."""


class ToolError(NixdockError):
    """A program or library that the job needs is missing or failed."""


class ImageError(NixdockError):
    """An existing image is damaged, or is not an image."""


class SignatureError(NixdockError):
    """A key has not signed an image, or the attestation that was asked for.

    `digest` is that of the image's manifest, and `place` its location. `reasons` say why what looks
    like a signature is none of the key.
    """

    def __init__(
        self, message: str, *, place: str, digest: str, reasons: Sequence[str] = ()
    ) -> None:
        super().__init__(message, place=place, digest=digest)
        self.reasons = tuple(reasons)


class RemoteError(NixdockError):
    """A server can't be reached, refuses a request, or answers against the rules.

    `place` is the server. `status` is the HTTP status of the answer, or None if there was none.
    `is_broken` says that a transfer broke, which may go on when it is tried again, and `after` how
    many seconds the server asks to wait before, if it does.
    """

    after: float | None = None

    def __init__(
        self,
        message: str,
        *,
        place: str,
        path: str | None = None,
        digest: str | None = None,
        status: int | None = None,
        is_broken: bool = False,
    ) -> None:
        super().__init__(message, place=place, path=path, digest=digest)
        self.status = status
        self.is_broken = is_broken


class RegistryError(RemoteError):
    """A registry can't be reached, refuses a request, or answers against the distribution-spec.

    `place` is the registry's host, with the repository if the request was about one. `codes` are
    the registry's own error codes, such as MANIFEST_UNKNOWN, and `code` is the first, or None.
    """

    def __init__(
        self,
        message: str,
        *,
        place: str,
        digest: str | None = None,
        status: int | None = None,
        codes: Sequence[str] = (),
        is_broken: bool = False,
    ) -> None:
        super().__init__(message, place=place, digest=digest, status=status, is_broken=is_broken)
        self.codes = tuple(codes)

    @property
    def code(self) -> str | None:
        """The first of the codes."""
        return next(iter(self.codes), None)


class CacheError(RemoteError):
    """A binary cache can't be reached, lacks a path, or sends something else than was promised.

    `place` is the cache's URL, and `path` the store path that was asked for, if there is one.
    `is_unreachable` says that it did not answer, or only that it is in trouble.
    """

    is_unreachable = False


class OutputError(NixdockError):
    """The result can't be written."""
