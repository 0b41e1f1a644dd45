"""The identifiers of the SPDX License List, as far as they can be told from other words.

The list itself is not here: it grows several times a year, and a package set may be newer than
nixdock. What has the form of an identifier is taken for one, but for words that are none.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["is_exception_id", "is_license_id"]

# A deprecated identifier may end in a plus, such as GPL-2.0+.
_FORM: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*\+?", re.ASCII)
# What has a meaning of its own where a licence may stand.
_RESERVED: Final = frozenset({"and", "or", "with", "none", "noassertion"})
# References to licences that a document itself describes, or another one, and to additions.
_REFERENCES: Final = ("licenseref-", "documentref-", "additionref-")
# Exceptions have a list of their own, and apply to a licence, after WITH. Nixpkgs names some of
# them among the licences of a package, such as LLVM-exception.
_EXCEPTION: Final = "-exception"
_EXCEPTIONS: Final = frozenset({"gpl-cc-1.0", "linux-syscall-note", "llgpl", "shl-2.0", "shl-2.1"})

# Licences that include an exception, or exclude one, have these in their names.
_LICENSES_WITH_EXCEPTION: Final = ("-with-", "-no-copyleft-", "-combined-work-")


def is_license_id(word: str) -> bool:
    """Tell whether `word` may be an identifier of a licence, so that it can be in an expression."""
    lowered = word.lower()
    return (
        _FORM.fullmatch(word) is not None
        and lowered not in _RESERVED
        and not lowered.startswith(_REFERENCES)
        and not _is_exception(lowered)
    )


def is_exception_id(word: str) -> bool:
    """Tell whether `word` may be an identifier of an exception, so that it can be after WITH."""
    return _FORM.fullmatch(word) is not None and _is_exception(word.lower())


def _is_exception(lowered: str) -> bool:
    is_license = any(part in lowered for part in _LICENSES_WITH_EXCEPTION)
    return (_EXCEPTION in lowered and not is_license) or lowered in _EXCEPTIONS
