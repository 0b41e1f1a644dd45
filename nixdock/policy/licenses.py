"""The rules for licences."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from nixdock.policy.findings import Finding
from nixdock.policy.policy import Policy, Rule
from nixdock.sbom.bill import License
from nixdock.system.text import shown

if TYPE_CHECKING:
    from nixdock.sbom.bill import Bill, Package, SystemPackage

__all__ = ["license_findings", "unlicensed_count"]

# What stands between the names in a licence expression of SPDX, or in one of rpm or apk.
_BETWEEN: Final = re.compile(r"[()\s,;&|]+")
_OPERATORS: Final = frozenset({"and", "or", "with", ""})


def license_findings(policy: Policy, bill: Bill) -> Iterator[Finding]:
    """Yield the packages with a denied licence and, if these are denied, those with none known."""
    patterns = [(text, text.lower()) for text in policy.denied_licenses]
    for name, path, licenses in _licensed(bill):
        for each in licenses:
            text = each.text
            names = {text.lower(), *_names(text), *(name.lower() for name in each.names)}
            for pattern, lowered in patterns:
                if any(fnmatchcase(candidate, lowered) for candidate in names):
                    message = f"the package {shown(name)} has the licence {shown(text)}"
                    yield Finding(Rule.DENY_LICENSE, message, path, shown(name), matched=pattern)
                    break
        if policy.deny_unknown_licenses and not licenses:
            message = f"the licence of the package {shown(name)} is not known"
            yield Finding(Rule.DENY_UNKNOWN_LICENSE, message, path, shown(name))
    if policy.deny_unknown_licenses and bill.base is not None and bill.base.unread:
        message = f"packages of the base image are not known, as {bill.base.unread}"
        yield Finding(Rule.DENY_UNKNOWN_LICENSE, message)


def unlicensed_count(bill: Bill) -> int:
    """Return how many packages have no licence that is known."""
    return sum(not licenses for _, _, licenses in _licensed(bill))


def _licensed(bill: Bill) -> Iterator[tuple[str, str | None, tuple[License, ...]]]:
    """Yield each package: its name with the version, its store path, and its licences."""
    for package in bill.packages:
        yield _full_name(package), str(package.path), package.meta.licenses
    for each in bill.base.packages if bill.base is not None else ():
        yield _full_name(each), None, (License(each.license),) if each.license else ()


def _full_name(package: Package | SystemPackage) -> str:
    return f"{package.name}-{package.version}" if package.version else package.name


def _names(expression: str) -> set[str]:
    """Return the names in a licence expression, in lower case."""
    return {*_BETWEEN.split(expression.lower())} - _OPERATORS
