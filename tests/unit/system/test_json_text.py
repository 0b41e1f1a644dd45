"""JSON for people: the same values, in characters that no terminal acts on."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from nixdock.system.json_text import json_text, printable_json

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda below: st.lists(below) | st.dictionaries(TEXT, below),
    max_leaves=20,
)


@given(VALUES)
def test_values_stay_the_same(value: Any) -> None:
    text = json_text(value).decode()
    assert json.loads(text) == value
    assert text.replace("\n", "").isprintable()
    assert json.loads(printable_json(json.dumps(value, ensure_ascii=False).encode())) == value


def test_what_a_terminal_acts_on() -> None:
    assert json_text(["\x7f\x9b\u202e\U000e0001é"]) == (
        '[\n  "\\u007f\\u009b\\u202e\\udb40\\udc01é"\n]\n'.encode()
    )


def test_names_that_are_not_unicode() -> None:
    assert (
        json_text({"a\udcff": ("b\udc80",)}) == b'{\n  "a\\\\udcff": [\n    "b\\\\udc80"\n  ]\n}\n'
    )


def test_numbers_of_more_than_64_bits_look_like_others() -> None:
    assert json_text({"a": [1 << 64], "b": []}) == json_text({"a": [1], "b": []}).replace(
        b"1", b"18446744073709551616"
    )
