"""Times: parsing and formatting."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nixdock.errors import InputError
from nixdock.spec.times import LATEST, parse_time, rfc3339, source_date_epoch


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:01Z", 1),
        ("1970-01-01T00:00:01+00:00", 1),
        ("2020-01-01T00:00:00+01:00", 1577833200),
        ("2020-01-01", 1577836800),
        ("2020-01-01T00:00:00", 1577836800),
        ("2020-01-01 00:00:00.999Z", 1577836800),
        ("20200101T000000Z", 1577836800),
        ("@5", 5),
        ("@0", 0),
    ],
)
def test_parse(text: str, seconds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for zone in ("UTC", "Asia/Tokyo"):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        try:
            assert parse_time(text) == seconds
        finally:
            monkeypatch.delenv("TZ")
            time.tzset()


def test_now_is_the_clock() -> None:
    before = int(time.time())
    assert before <= parse_time("now") <= time.time()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "@",
        "@-1",
        "@x",
        "@1.5",
        "@²",
        "@1\n",
        f"@{'9' * 5000}",
        "NOW",
        "2020-13-01",
        "1969-12-31T23:59:59Z",
        "0001-01-01T00:00:00+23:59",
    ],
)
def test_invalid_times(text: str) -> None:
    with pytest.raises(InputError):
        parse_time(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1969-12-31T23:59:59.9Z", "is before 1970"),
        ("1970-01-01T00:00:00+00:01", "is before 1970"),
        (f"@{LATEST + 1}", "is after the year 9999"),
        (f"@{'9' * 18}", "is after the year 9999"),
        ("9999-12-31T23:59:59-00:01", "is after the year 9999"),
        ("0001-01-01T00:00:00+01:00", "is not a time|is before 1970"),
    ],
)
def test_times_out_of_range(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_time(text)


def test_the_latest_time() -> None:
    assert rfc3339(LATEST) == "9999-12-31T23:59:59Z"
    assert parse_time(f"@{LATEST}") == parse_time("9999-12-31T23:59:59Z") == LATEST


def test_written_in_utc() -> None:
    assert rfc3339(1) == "1970-01-01T00:00:01Z"
    assert rfc3339(1577833200) == "2019-12-31T23:00:00Z"
    with pytest.raises(InputError, match="is not a time before the year 10000"):
        rfc3339(10**15)


@given(st.integers(0, LATEST))
def test_round_trips(seconds: int) -> None:
    assert parse_time(rfc3339(seconds)) == seconds


def test_source_date_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    assert source_date_epoch() == 1
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "")
    assert source_date_epoch() == 1
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "315532800")
    assert source_date_epoch() == 315532800
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(LATEST))
    assert source_date_epoch() == LATEST
    for text in ("x", "-1", "1.5", "²", "1\n", str(LATEST + 1), "9" * 5000):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", text)
        with pytest.raises(InputError, match="must be a number of seconds from 0 to"):
            source_date_epoch()
