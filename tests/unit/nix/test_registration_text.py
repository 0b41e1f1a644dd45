"""The registration text: records in, records out, and where it is wrong."""

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
        (b"x", "line 1: a store path should stand here, not 'x'"),
        (b"/p", "line 2: the text ends where a NAR hash should stand"),
        (b"/p\nh\nmany\n", "line 3: a NAR size should stand here, not 'many'"),
        (b"/p\nh\n-1\n", "line 3: a NAR size should stand here, not '-1'"),
        (b"/p\nh\n1\n\nx\n", "line 5: a number of references should stand here, not 'x'"),
        (b"/p\nh\n1\n\n2\n/q\n", "line 7: the text ends where a reference should stand"),
        (b"/p\nh\n1\n\n0\nrest\n", "line 6: a store path should stand here, not 'rest'"),
        (b"/p\nh\n" + b"9" * 5000 + b"\n", "line 3: a NAR size should stand here"),
        (b"/p\nh\n1\n\n" + b"9" * 5000, "line 5: a number of references should stand here"),
        (b"/p\nh\n1_0\n", "line 3: a NAR size should stand here, not '1_0'"),
        (b"/p\nh\n 1\n", "line 3: a NAR size should stand here, not ' 1'"),
        (b"/p\nh\n\n", "line 3: the text ends where a NAR size should stand"),
        (b"/p\nh\n1\n\n999999999\n/q\n", "line 7: the text ends where a reference"),
        (b"/p\nh\n1\n\n0\n/q\nh\nx\n", "line 8: a NAR size should stand here"),
        (b"/\xff", "neither JSON nor a registration text"),
    ],
)
def test_errors_name_the_line(text: bytes, message: str) -> None:
    with pytest.raises(ClosureError, match=message):
        list(parse_registration(text))


def test_nothing_is_no_record() -> None:
    assert list(parse_registration(b"")) == []
    assert list(parse_registration(b"\n\n")) == []
