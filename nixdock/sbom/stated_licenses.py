"""What a package set states as licences: names, licences of its own, and expressions of these.

Nixpkgs has operators for them: OR and AND of several, WITH for an exception, and + for later
versions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from nixdock.errors import InputError
from nixdock.sbom.bill import License
from nixdock.sbom.license_ids import is_exception_id, is_license_id

__all__ = ["one_line", "stated_licenses"]

_AND: Final = "AND"
_OR: Final = "OR"
_WITH: Final = "WITH"
_PLUS: Final = "+"
# The deepest lists and operators one in another; Nixpkgs has a list of licences.
_MOST_NESTED: Final = 10


def stated_licenses(value: object) -> tuple[License, ...]:
    """Return the licences of a `meta.license`, which all apply.

    It is an object, an expression or a name, or a list of these. Raise InputError if too many lists
    or operators are one in another.
    """
    return tuple(_licenses(value, _MOST_NESTED))


def one_line(value: object) -> str:
    """Return a text on one line, or nothing for another value."""
    return " ".join(value.split()) if isinstance(value, str) else ""


def _licenses(value: object, most_nested: int) -> Iterator[License]:
    is_expression = isinstance(value, dict) and "operator" in value
    if not most_nested and (is_expression or isinstance(value, list)):
        kind = "lists" if isinstance(value, list) else "operators"
        raise InputError(f"`meta.license` has more than {_MOST_NESTED} {kind} one in another")
    deeper = most_nested - 1
    match value:
        case [*several] | {"operator": "AND", "licenses": [*several]}:
            for each in several:
                yield from _licenses(each, deeper)
        case {"operator": str(operator), "licenses": [*several]}:
            yield from _joined(operator, (part for each in several for part in _all(each, deeper)))
        case {"operator": "WITH", "license": license_, "exception": exception}:
            for base in _all(license_, deeper):
                yield _with_exception(base, exception, [*_all(exception, deeper)])
        case {"operator": "+", "license": license_}:
            yield from map(_or_later, _all(license_, deeper))
        case dict():
            yield from _single(value)
        case str() if name := one_line(value):
            yield License(name)


def _single(value: Mapping[str, Any]) -> Iterator[License]:
    stated = one_line(value.get("spdxId"))
    name = one_line(value.get("fullName")) or one_line(value.get("shortName")) or stated
    spdx_id = stated if is_license_id(stated) else None
    if stated not in {spdx_id, "", name}:
        # By it, too, a policy may deny the licence.
        name = f"{name} ({stated})"
    if name:
        yield License(name, spdx_id, one_line(value.get("url")) or None)


def _all(value: object, most_nested: int) -> Iterator[License]:
    """Yield one licence that stands for all that `value` states, or nothing if that is none."""
    return _joined(_AND, _licenses(value, most_nested))


def _joined(operator: str, licenses: Iterable[License]) -> Iterator[License]:
    """Yield one licence that is an expression of several, or the only one, if there is any."""
    unique = [*dict.fromkeys(licenses)]
    if len(unique) < 2:
        yield from unique
        return
    text = f" {operator} ".join(map(_operand, unique))
    is_known = operator in {_AND, _OR} and all(each.spdx_id for each in unique)
    parts = tuple(dict.fromkeys(name for each in unique for name in each.names))
    yield License(text, text if is_known else None, parts=parts)


def _operand(license_: License) -> str:
    text = license_.text
    is_joined = any(f" {operator} " in text for operator in (_AND, _OR))
    return f"({text})" if is_joined else text


def _with_exception(base: License, exception: object, stated: list[License]) -> License:
    """Return a licence to which an exception applies; SPDX knows those of its own list."""
    spdx_id = one_line(exception.get("spdxId")) if isinstance(exception, dict) else ""
    is_known = is_license_id(base.spdx_id or "") and is_exception_id(spdx_id)
    if not stated:
        return base
    name = spdx_id if is_known else stated[0].text
    text = f"{_operand(base)} {_WITH} {name}"
    return License(text, text if is_known else None, base.url, (*base.names, name))


def _or_later(base: License) -> License:
    if not is_license_id(base.spdx_id or ""):
        return License(f"{_operand(base)} or later", None, base.url, base.names)
    text = f"{base.text.removesuffix(_PLUS)}{_PLUS}"
    return License(text, text, base.url, base.names)
