"""Challenges are read in every form that registries and RFC 9110 have."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nixdock.registry.challenges import Challenge, parse_challenges


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (
            (
                'Bearer realm="https://auth.example/token",service="r.example",'
                'scope="repository:a/b:pull,push"'
            ),
            [
                (
                    "bearer",
                    {
                        "realm": "https://auth.example/token",
                        "service": "r.example",
                        "scope": "repository:a/b:pull,push",
                    },
                )
            ],
        ),
        ('BASIC Realm="x"', [("basic", {"realm": "x"})]),
        ("Basic", [("basic", {})]),
        ("", []),
        (
            'Basic realm="a, Bearer realm=\\"b\\"", Bearer realm=c , error = "d"',
            [("basic", {"realm": 'a, Bearer realm="b"'}), ("bearer", {"realm": "c", "error": "d"})],
        ),
        (
            'Negotiate, NTLM TlRMTVNTUAAB==, Basic realm="x"',
            [("negotiate", {}), ("ntlm", {}), ("basic", {"realm": "x"})],
        ),
        ('Bearer realm="never ends', [("bearer", {"realm": "never ends"})]),
        (', ,realm="of none", Bearer realm=x', [("bearer", {"realm": "x"})]),
        ("Bearer realm=first,realm=second", [("bearer", {"realm": "first"})]),
    ],
)
def test_challenges_are_found(header: str, expected: list[tuple[str, dict[str, str]]]) -> None:
    assert parse_challenges(header) == tuple(Challenge(*each) for each in expected)


@given(st.text(alphabet='aB =,"\\\x00é', max_size=60))
def test_no_header_is_too_strange(header: str) -> None:
    for challenge in parse_challenges(header):
        assert challenge.scheme == challenge.scheme.lower()


@given(st.dictionaries(st.from_regex(r"[a-z]+", fullmatch=True), st.text(max_size=20)))
def test_quoted_strings_keep_their_content(parameters: dict[str, str]) -> None:
    quoted = (
        '{}="{}"'.format(key, value.replace("\\", "\\\\").replace('"', '\\"'))
        for key, value in parameters.items()
    )
    assert parse_challenges(f"Bearer {', '.join(quoted)}") == (Challenge("bearer", parameters),)
