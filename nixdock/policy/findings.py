"""What breaks a policy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from nixdock.policy.policy import Rule

__all__ = ["Finding", "PolicyReport"]


class Finding(Struct, frozen=True):
    """One thing that breaks a rule.

    `path` is the file or store path at fault and `package` the package, each None where it does not
    apply. `layers` are the numbers of the layers at fault, from 1 at the bottom. `measured` and
    `limit` are numbers of bytes or layers. `matched` is the licence or regular expression that
    denies it. `platform` is that of the image, if it is one of an index for several.
    """

    rule: Rule
    message: str
    path: str | None = None
    package: str | None = None
    layers: tuple[int, ...] = ()
    measured: int | None = None
    limit: int | None = None
    matched: str | None = None
    platform: str | None = None

    @property
    def text(self) -> str:
        """The message, behind the platform if there is one."""
        return self.message if self.platform is None else f"{self.platform}: {self.message}"

    def document(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "rule": self.rule.value,
            "message": self.message,
            "path": self.path,
            "package": self.package,
            "layers": list(self.layers),
            "measured": self.measured,
            "limit": self.limit,
            "matched": self.matched,
            "platform": self.platform,
        }


class PolicyReport(Struct, frozen=True):
    """The rules that were checked, and everything that breaks one of them.

    `origin` is the text of what was checked. `unlicensed` is the number of packages whose licence
    is not known, or None if licences were not looked at; `unexamined` says why packages of the base
    image are not known, if so. `platforms` are those of the images of an index that were
    checked.
    """

    origin: str
    rules: tuple[Rule, ...]
    findings: tuple[Finding, ...]
    unlicensed: int | None = None
    unexamined: str | None = None
    platforms: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether nothing breaks the policy."""
        return not self.findings

    def document(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "source": self.origin,
            "passed": self.passed,
            "platforms": list(self.platforms),
            "rules": [rule.value for rule in self.rules],
            "unlicensed": self.unlicensed,
            "unexamined": self.unexamined,
            "findings": [finding.document() for finding in self.findings],
        }

    @classmethod
    def of(
        cls,
        origin: str,
        rules: Sequence[Rule],
        findings: Sequence[Finding],
        unlicensed: int | None = None,
        unexamined: str | None = None,
        platforms: Sequence[str] = (),
    ) -> PolicyReport:
        """Return the report with the findings in the order of the rules."""
        order = {rule: number for number, rule in enumerate(Rule)}
        ordered = sorted(findings, key=lambda finding: order[finding.rule])
        return cls(origin, tuple(rules), tuple(ordered), unlicensed, unexamined, tuple(platforms))
