"""Times in seconds since 1970: explicit, from SOURCE_DATE_EPOCH, or Nix's constant."""

from __future__ import annotations

import os
import re
import time
from datetime import UTC, datetime
from typing import Final

from nixdock.errors import InputError

__all__ = ["CONSTANT", "LATEST", "parse_time", "rfc3339", "source_date_epoch"]

CONSTANT: Final = 1
"""1970-01-01T00:00:01Z: the modification time of every file in a Nix store, in seconds."""

LATEST: Final = 253402300799
"""9999-12-31T23:59:59Z: the last second that RFC 3339 can express."""

_SECONDS: Final = re.compile(r"[0-9]{1,18}")


def source_date_epoch() -> int:
    """Return SOURCE_DATE_EPOCH, or CONSTANT if it is not set or empty.

    Raise InputError if it is not a number of seconds up to LATEST.
    """
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not text:
        return CONSTANT
    if _SECONDS.fullmatch(text) is None or int(text) > LATEST:
        raise InputError(
            f"SOURCE_DATE_EPOCH is {text!r}, but must be a number of seconds from 0 to {LATEST}"
        )
    return int(text)


def parse_time(text: str) -> int:
    """Return the time `text` in seconds since 1970: ISO 8601, @SECONDS or `now`.

    A time without an offset is in UTC; fractions of a second are dropped. Raise InputError if
    `text` is none of these, is before 1970, or is after the year 9999.
    """
    if text == "now":
        return int(time.time())
    if text.startswith("@") and _SECONDS.fullmatch(text, 1):
        seconds = int(text[1:])
    else:
        seconds = _parse_iso(text)
    if seconds < 0:
        raise InputError(f"{text!r} is before 1970")
    if seconds > LATEST:
        raise InputError(f"{text!r} is after the year 9999")
    return seconds


def _parse_iso(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return int(moment.timestamp() // 1)
    except (ValueError, OverflowError):
        raise InputError(
            f"{text!r} is not a time: expected ISO 8601, such as 2026-01-31T12:00:00Z, @SECONDS"
            " or `now`"
        ) from None


def rfc3339(seconds: int) -> str:
    """Return the time in RFC 3339 format, in UTC; raise InputError after the year 9999."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ").zfill(20)
    except (ValueError, OverflowError, OSError):
        raise InputError(
            f"{seconds} seconds since 1970 is not a time before the year 10000"
        ) from None
