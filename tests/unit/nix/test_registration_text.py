"""The registration text: round trips, and the errors in malformed texts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nixdock.errors import ClosureError
from nixdock.nix.registration_text import (
    RegistrationRecord,
    format_registration,
    parse_registration,
)

LINE = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20)
PATH = LINE.map(lambda name: f"/{name}")
RECORDS = st.lists(
    st.builds(
        RegistrationRecord,
        path=PATH,
        nar_hash=LINE,
        nar_size=st.integers(0, 2**70),
        deriver=st.one_of(st.just(""), PATH),
        references=st.lists(PATH, max_size=4).map(tuple),
    ),
    max_size=5,
)


@given(RECORDS)
def test_records_read_back(records: list[RegistrationRecord]) -> None:
    assert list(parse_registration(format_registration(records))) == records


def test_lines_of_a_record() -> None:
    record = RegistrationRecord("/p", "sha256:x", 7, "", ("/p", "/q"))
    assert format_registration([record]) == b"/p\nsha256:x\n7\n\n2\n/p\n/q\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"x", "line 1: expected a store path, not 'x'"),
        (b"/p", "line 2: expected a NAR hash, not the end of the text"),
        (b"/p\nh\nmany\n", "line 3: expected a NAR size, not 'many'"),
        (b"/p\nh\n-1\n", "line 3: expected a NAR size, not '-1'"),
        (b"/p\nh\n1\n\nx\n", "line 5: expected a number of references, not 'x'"),
        (b"/p\nh\n1\n\n2\n/q\n", "line 7: expected a reference, not the end of the text"),
        (b"/p\nh\n1\n\n0\nrest\n", "line 6: expected a store path, not 'rest'"),
        (b"/p\nh\n" + b"9" * 5000 + b"\n", "line 3: expected a NAR size, not '"),
        (b"/p\nh\n1\n\n" + b"9" * 5000, "line 5: expected a number of references, not '"),
        (b"/p\nh\n1_0\n", "line 3: expected a NAR size, not '1_0'"),
        (b"/p\nh\n 1\n", "line 3: expected a NAR size, not ' 1'"),
        (b"/p\nh\n\n", "line 3: expected a NAR size, not the end of the text"),
        (b"/p\nh\n1\n\n999999999\n/q\n", "line 7: expected a reference, not the end of the text"),
        (b"/p\nh\n1\n\n0\n/q\nh\nx\n", "line 8: expected a NAR size, not '"),
        (b"/\xff", "neither JSON nor registration text: the byte at 1 is not ASCII; nix path-info"),
    ],
)
def test_errors_name_the_line(text: bytes, message: str) -> None:
    with pytest.raises(ClosureError, match=message) as caught:
        list(parse_registration(text))
    assert caught.value.place == (message.partition(":")[0] if "line" in message else None)


def test_an_empty_text_has_no_records() -> None:
    assert list(parse_registration(b"")) == []
    assert list(parse_registration(b"\n\n")) == []
