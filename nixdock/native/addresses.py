"""The addresses of bytes, which ctypes itself gives only of those that may be changed."""

from __future__ import annotations

import ctypes
from typing import Final

__all__ = ["address_of"]

_SIMPLE: Final = 0


class _Buffer(ctypes.Structure):
    """A Py_buffer, whose layout is part of Python's stable ABI since version 3.11."""

    _fields_ = (
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.c_void_p),
        ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int),
        ("ndim", ctypes.c_int),
        ("format", ctypes.c_void_p),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("suboffsets", ctypes.c_void_p),
        ("internal", ctypes.c_void_p),
    )


_get: Final = ctypes.pythonapi.PyObject_GetBuffer
_get.argtypes = (ctypes.py_object, ctypes.POINTER(_Buffer), ctypes.c_int)
_release: Final = ctypes.pythonapi.PyBuffer_Release
_release.argtypes = (ctypes.POINTER(_Buffer),)
_release.restype = None


def address_of(data: memoryview | bytes) -> int | None:
    """Return the address of contiguous bytes, which is valid as long as `data` is kept."""
    buffer = _Buffer()
    _get(data, buffer, _SIMPLE)
    address: int | None = buffer.buf
    _release(buffer)
    return address
