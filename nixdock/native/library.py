"""Loading the native packer."""

from __future__ import annotations

import ctypes
import os
from functools import cache
from pathlib import Path
from typing import Final

from nixdock.errors import InputError, ToolError

__all__ = ["FILE", "PACKER_VARIABLE", "Place", "native_library"]

PACKER_VARIABLE: Final = "NIXDOCK_PACKER"
"""The environment variable that chooses the packer: `native` or `python`."""

FILE: Final = Path(__file__).with_name("packer.so")
"""Where the library is put when nixdock is installed, on all systems."""

_VERSION: Final = 1


class Place(ctypes.Structure):
    """The struct nixdock_place of packer.h."""

    _fields_ = (
        ("fault", ctypes.c_int32),
        ("number", ctypes.c_int32),
        ("begun", ctypes.c_uint64),
        ("written", ctypes.c_uint64),
        ("file_size", ctypes.c_uint64),
        ("name", ctypes.c_char_p),
    )


def native_library() -> ctypes.CDLL | None:
    """Return the library, or None if the packer in Python is to be used.

    Raise ToolError if NIXDOCK_PACKER asks for the library and it is not there, and InputError if
    the variable has another value than the two.
    """
    chosen = os.environ.get(PACKER_VARIABLE, "")
    if chosen not in {"", "native", "python"}:
        raise InputError(
            f"{PACKER_VARIABLE} is {chosen!r}; set it to native or python, or not at all"
        )
    if chosen == "python":
        return None
    library = _loaded()
    if library is None and chosen == "native":
        raise ToolError(
            f"{PACKER_VARIABLE} asks for the native packer, but {FILE} is not there, or of another"
            " version; install nixdock again where there is a C compiler, or unset the variable",
            path=FILE,
        )
    return library


@cache
def _loaded() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL(str(FILE))
        if ctypes.c_int.in_dll(library, "nixdock_packer_version").value != _VERSION:
            return None
    except (OSError, ValueError):
        return None
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    texts = ctypes.POINTER(ctypes.c_char_p)
    for name, arguments, result in (
        ("trees_open", (ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, texts, size), pointer),
        ("trees_read", (pointer, pointer, size), size),
        ("trees_place", (pointer,), Place),
        ("trees_close", (pointer,), None),
        ("sha256_is_there", (), ctypes.c_int),
        ("sha256_blocks", (pointer, pointer, pointer, pointer, size), None),
    ):
        function = getattr(library, f"nixdock_{name}")
        function.argtypes, function.restype = arguments, result
    return library
