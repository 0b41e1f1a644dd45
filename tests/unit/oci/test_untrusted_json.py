"""JSON from elsewhere: one meaning or an error."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nixdock.errors import ImageError
from nixdock.oci.untrusted_json import MOST_JSON, parse_json


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"a":1,"a":1}', "the key 'a' stands twice"),
        (b'[{"b":{"a":1,"c":2,"a":3}}]', "the key 'a' stands twice"),
        (b'{"a":1,"\\u0061":2}', "the key 'a' stands twice"),
        (b"[1e999]", "too large"),
        (b"[NaN]", "not a number"),
        (b"[99999999999999999999]", "64 bits"),
        (b"[" + b"9" * 10_000 + b"]", "64 bits"),
        (b"[" * 65 + b"]" * 65, "nested more than 64 deep"),
        (b"[" * 200_000, "nested too deeply|not valid JSON"),
        (b'{"a":"\\ud800"}', "not Unicode"),
        (b'{"\\udc00":1}', "not Unicode"),
        (b"\xff", "not valid JSON"),
        (b"\xef\xbb\xbf{}", "not valid JSON"),
        ("{}".encode("utf-16"), "not valid JSON"),
        (b"", "not valid JSON"),
        (b"{} {}", "not valid JSON"),
        (b" " * (MOST_JSON + 1), "at most 4194304"),
    ],
)
def test_refused(data: bytes, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        parse_json(data)


@given(st.binary(max_size=50))
def test_anything_is_a_value_or_an_image_error(data: bytes) -> None:
    try:
        parse_json(data)
    except ImageError as error:
        assert str(error).isprintable()


def test_read() -> None:
    assert parse_json('{"é":[1,2.5,null,true,"\\ud83d\\ude00"]}'.encode()) == {
        "é": [1, 2.5, None, True, "😀"]
    }
