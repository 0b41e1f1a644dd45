"""Python's binding of libzstd: the standard library's, or its backport before Python 3.14."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from nixdock.errors import ToolError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = ["compression_errors", "zstd"]


@contextmanager
def compression_errors() -> Iterator[None]:
    """Raise ToolError for errors of libzstd, which has them only if a resource is lacking."""
    try:
        yield
    except zstd.ZstdError as error:
        raise ToolError(
            f"libzstd can't compress ({error}); allow more memory or threads: raise the limit that"
            " ulimit -a or the container's settings show"
        ) from None
