"""Parsing untrusted JSON: a document has one meaning or is refused."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nixdock.errors import ImageError
from nixdock.oci.documents import DescriptorDocument, IndexDocument
from nixdock.oci.untrusted_json import MOST_JSON, converted, parse_json


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"a":1,"a":1}', "the key 'a' appears twice"),
        (b'[{"b":{"a":1,"c":2,"a":3}}]', "the key 'a' appears twice"),
        (b'{"a":1,"\\u0061":2}', "the key 'a' appears twice"),
        (b"[1e999]", "too large"),
        (b"[NaN]", "not a number"),
        (b"[99999999999999999999]", "64 bits"),
        (b"[" + b"9" * 10_000 + b"]", "64 bits"),
        (b"[" * 65 + b"]" * 65, "it is nested more than 64 levels deep"),
        (b"[" * 200_000, "(nested too deeply|not valid JSON)"),
        (b'{"a":"\\ud800"}', "not Unicode"),
        (b'{"\\udc00":1}', "not Unicode"),
        (b"\xff", "not valid JSON"),
        (b"\xef\xbb\xbf{}", "not valid JSON"),
        ("{}".encode("utf-16"), "not valid JSON"),
        (b"", "not valid JSON"),
        (b"{} {}", "not valid JSON"),
        (b" " * (MOST_JSON + 1), "has 4194305 bytes, but JSON documents may have at most 4194304"),
    ],
)
def test_refused(data: bytes, message: str) -> None:
    with pytest.raises(ImageError, match=f"^index.json .*{message}"):
        parse_json(data, "index.json")


@given(st.binary(max_size=50))
def test_any_bytes_are_a_value_or_an_image_error(data: bytes) -> None:
    try:
        parse_json(data)
    except ImageError as error:
        assert str(error).isprintable()


def test_valid_json() -> None:
    assert parse_json('{"é":[1,2.5,null,true,"\\ud83d\\ude00"]}'.encode()) == {
        "é": [1, 2.5, None, True, "😀"]
    }


def test_the_subject_of_messages() -> None:
    with pytest.raises(ImageError, match=r"^the document is not valid JSON: "):
        parse_json(b"")
    with pytest.raises(ImageError, match=r"^the document is malformed: Expected `object`"):
        converted([], DescriptorDocument)


def test_converted() -> None:
    value = {"schemaVersion": 2, "manifests": [{"mediaType": "m", "digest": "d", "size": 1}]}
    assert converted(value, IndexDocument, "index.json") == IndexDocument(
        2, [DescriptorDocument("m", "d", 1)]
    )


@pytest.mark.parametrize(
    ("value", "key", "message"),
    [
        ([], None, "Expected `object`, got `array`"),
        ({"manifests": []}, None, "Object missing required field `schemaVersion`"),
        (
            {"schemaVersion": "2", "manifests": []},
            "schemaVersion",
            "schemaVersion: Expected `int`, got `str`",
        ),
        (
            {"schemaVersion": 2, "manifests": [{"mediaType": 1}]},
            "manifests[0].mediaType",
            "manifests[0].mediaType: Expected `str`, got `int`",
        ),
    ],
)
def test_documents_of_another_form(value: Any, key: str | None, message: str) -> None:
    expected = f"^{re.escape(f'index.json is malformed: {message}')}$"
    with pytest.raises(ImageError, match=expected) as caught:
        converted(value, IndexDocument, "index.json")
    assert caught.value.key == key
