"""The exceptions that nixdock raises.

::

    NixdockError          anything that nixdock itself reports; exit status 1
    ├── InputError        the caller's input is wrong; exit status 2
    │   ├── ClosureError  a reference graph breaks the closure contract
    │   ├── SpecError     an image spec or stream configuration is not valid
    │   └── PlanError     no plan fits the layer budget
    ├── PackError         the store or a tree changed or can't be read while packing
    ├── ImageError        an existing image is damaged or not an image
    └── OutputError       the result can't be written
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "ClosureError",
    "ImageError",
    "InputError",
    "NixdockError",
    "OutputError",
    "PackError",
    "PlanError",
    "SpecError",
]


class NixdockError(Exception):
    """Base of every error that nixdock reports; `exit_status` is the CLI's."""

    exit_status: ClassVar[int] = 1


class InputError(NixdockError):
    """The caller's input is wrong."""

    exit_status: ClassVar[int] = 2


class ClosureError(InputError):
    """A reference graph breaks the closure contract."""


class SpecError(InputError):
    """An image spec or stream configuration is not valid."""


class PlanError(InputError):
    """No plan fits the layer budget."""


class PackError(NixdockError):
    """The store or a tree changed, or can't be read, while it was packed."""


class ImageError(NixdockError):
    """An existing image is damaged, or not an image."""


class OutputError(NixdockError):
    """The result can't be written."""
