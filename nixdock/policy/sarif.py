"""Reports in SARIF 2.1.0, the form in which CI services take findings."""

from __future__ import annotations

import hashlib
import os
from importlib.metadata import version
from typing import Any, Final
from urllib.parse import quote

from nixdock.policy.findings import Finding, PolicyReport
from nixdock.policy.policy import Rule
from nixdock.system.text import shown

__all__ = ["sarif_document"]

_SCHEMA: Final = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)


def sarif_document(report: PolicyReport) -> dict[str, Any]:
    """Return a report as a SARIF log with one run."""
    rules = [*report.rules]
    return {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "nixdock",
                        "version": version("nixdock"),
                        "rules": [_rule(rule) for rule in rules],
                    }
                },
                "columnKind": "unicodeCodePoints",
                "results": [_result(finding, rules, report.origin) for finding in report.findings],
            }
        ],
    }


def _rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.value,
        "shortDescription": {"text": rule.description},
        "defaultConfiguration": {"level": "error"},
    }


def _result(finding: Finding, rules: list[Rule], origin: str) -> dict[str, Any]:
    return {
        "ruleId": finding.rule.value,
        "ruleIndex": rules.index(finding.rule),
        "level": "error",
        "message": {"text": _message(finding.text)},
        "locations": [_location(finding, origin)],
        # The same fault has it in the next image, too, whatever has moved.
        "partialFingerprints": {"fault/v1": _fingerprint(finding)},
        "properties": {
            key: value
            for key, value in finding.document().items()
            if key not in {"rule", "message"} and value is not None and value != []
        },
    }


def _message(text: str) -> str:
    """Return a message that says `text`, one line in which nothing is a placeholder or a link.

    Braces are doubled (§3.11.5). For "](", which makes a link of the text before it (§3.11.6), the
    standard has no escape.
    """
    line = shown(text, len(text)).replace("](", "] (")
    return line.replace("{", "{{").replace("}", "}}")


def _location(finding: Finding, origin: str) -> dict[str, Any]:
    location: dict[str, Any] = {"physicalLocation": {"artifactLocation": {"uri": _uri(origin)}}}
    if finding.path is not None:
        location["logicalLocations"] = [{"fullyQualifiedName": finding.path, "kind": "resource"}]
    elif finding.package is not None:
        location["logicalLocations"] = [{"fullyQualifiedName": finding.package, "kind": "package"}]
    return location


def _uri(origin: str) -> str:
    """Return a URI of a file, or of an image in a registry."""
    return quote(os.fsencode(origin), safe="/:@" if origin.startswith("docker://") else "/")


def _fingerprint(finding: Finding) -> str:
    parts = [finding.rule.value, finding.path or "", finding.package or "", finding.matched or ""]
    if finding.path is None and finding.package is None:
        parts += map(str, finding.layers if finding.rule is Rule.MAX_LAYER else ())
    if finding.platform is not None:
        parts.append(finding.platform)
    return hashlib.sha256("\0".join(parts).encode("utf-8", "backslashreplace")).hexdigest()
