"""Reading the files of keys."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from nixdock.errors import InputError
from nixdock.system.input_files import read_bytes
from nixdock.system.presence import exists

__all__ = ["read_key"]

# A path has one slash where a URL has several.
_URL: Final = re.compile(r"([a-z][a-z0-9+.-]+):/", re.ASCII)


def read_key(file: Path, what: str) -> bytes:
    """Return the contents of a file with a key, or standard input for `-`.

    Raise InputError, in which `what` describes the file, if it can't be read, or if it is a URL of
    those that cosign takes for a key.
    """
    url = _URL.match(str(file))
    if url is not None and not exists(file):
        raise InputError(
            f"{what} must be in a file, and not at {url[1]}://; leave keys in a KMS, in Kubernetes"
            " and at other URLs to cosign",
            path=file,
        )
    return read_bytes(file, what)
