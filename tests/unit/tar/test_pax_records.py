"""The records of PAX extended headers."""

from __future__ import annotations

import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nixdock.tar.pax_records import parse_records, record_integer, record_time

keys = st.text(st.characters(exclude_characters="=\0", codec="utf-8"), min_size=1, max_size=20)
values = st.text(st.characters(codec="utf-8"), min_size=1, max_size=200)


@given(st.dictionaries(keys, values, max_size=8))
def test_records_of_tarfile(records: dict[str, str]) -> None:
    header = tarfile.TarInfo.create_pax_global_header(records)
    size = int(header[124:135], 8)
    data = header[512 : 512 + size]
    assert parse_records(data) == {key.encode(): value.encode() for key, value in records.items()}


def test_empty_values_are_left_out_unless_they_are_extended_attributes() -> None:
    data = b"8 path=\n13 comment=x\n24 SCHILY.xattr.user.a=\n"
    assert parse_records(data) == {b"comment": b"x", b"SCHILY.xattr.user.a": b""}


@given(st.binary(max_size=60))
def test_any_bytes_are_records_or_a_value_error(data: bytes) -> None:
    try:
        records = parse_records(data)
    except ValueError as error:
        assert "extended header" in str(error)
        return
    assert all(records)


@pytest.mark.parametrize(("text", "number"), [(b"0", 0), (b"-5", -5), (b"2097152", 1 << 21)])
def test_integers(text: bytes, number: int) -> None:
    assert record_integer({b"uid": text}, b"uid", 7) == number
    assert record_integer({b"gid": text}, b"uid", 7) == 7


@pytest.mark.parametrize("text", [b"", b"1.5", b"+1", b" 1", b"1_0", b"0x1", b"9" * 20])
def test_malformed_integers(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"^the uid '.*' is not a number$"):
        record_integer({b"uid": text}, b"uid", 0)


def test_integers_of_more_than_64_bits() -> None:
    assert record_integer({b"uid": b"-9223372036854775808"}, b"uid", 0) == -(1 << 63)
    with pytest.raises(ValueError, match=r"^the uid '9223372036854775808' is too large$"):
        record_integer({b"uid": b"9223372036854775808"}, b"uid", 0)
    with pytest.raises(ValueError, match=r"^the mtime '9999999999999999999\.5' is too large$"):
        record_time({b"mtime": b"9999999999999999999.5"}, 0)


def test_times() -> None:
    # A float can't represent this number.
    assert record_time({b"mtime": b"9007199254740993"}, 0) == 9007199254740993
    assert record_time({b"mtime": b"-1.5"}, 0) == -1.5
    assert record_time({}, 3) == 3
    with pytest.raises(ValueError, match=r"^the mtime 'nan' is not a number$"):
        record_time({b"mtime": b"nan"}, 0)
