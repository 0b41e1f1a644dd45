"""What a registry asks for with WWW-Authenticate (RFC 9110, section 11.6.1)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from msgspec import Struct, field

__all__ = ["Challenge", "parse_challenges"]

_TOKEN: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
# The content of a quoted string is either anything but a quote or a backslash, or an escape.
_PARAMETER: Final = re.compile(
    rf'({_TOKEN})\s*=\s*(?:"((?:[^"\\]|\\.)*)"?|([^\s,"=][^\s,"]*))', re.DOTALL
)
_SCHEME: Final = re.compile(rf"({_TOKEN})(?=\s|,|$)")
# The form of credentials that some schemes have in place of parameters.
_TOKEN68: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*(?=\s*(?:,|$))")
_BETWEEN: Final = re.compile(r"[\s,]*")
_MOST: Final = 1 << 14


class Challenge(Struct, frozen=True):
    """A scheme, such as `bearer`, and its parameters; schemes and keys are in lower case."""

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict)


def parse_challenges(header: str) -> tuple[Challenge, ...]:
    """Return the challenges of a header, or of several that were joined by commas.

    What can't be understood is left out: a registry may also ask for something else.
    """
    header = header[:_MOST]
    found: list[tuple[str, dict[str, str]]] = []
    at = 0
    while (at := _after(_BETWEEN, header, at)) < len(header):
        if parameter := _PARAMETER.match(header, at):
            at = parameter.end()
            if found:
                quoted, plain = parameter[2], parameter[3]
                value = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
                found[-1][1].setdefault(parameter[1].lower(), value)
        elif scheme := _SCHEME.match(header, at):
            found.append((scheme[1].lower(), {}))
            at = _after(_BETWEEN, header, scheme.end())
            if not _PARAMETER.match(header, at) and "," not in header[scheme.end() : at]:
                at = _after(_TOKEN68, header, at)
        else:
            at += 1
    return tuple(Challenge(scheme, parameters) for scheme, parameters in found)


def _after(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match else at
