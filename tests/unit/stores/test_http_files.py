from __future__ import annotations

from urllib.parse import urljoin

from hypothesis import given
from hypothesis import strategies as st

from nixdock.stores import http_files


@given(st.text("ab.:/%?#+_-é ", min_size=1, max_size=9))
def test_names_that_are_plain_need_not_be_joined(name: str) -> None:
    if http_files._PLAIN_NAME.fullmatch(name):
        assert urljoin("https://example.org/cache/", name) == f"https://example.org/cache/{name}"


def test_the_names_that_nix_gives_to_files_are_plain() -> None:
    for name in ("nix-cache-info", "0a1b.narinfo", "nar/0a1b.nar.zst", "log/0a-b.drv"):
        assert http_files._PLAIN_NAME.fullmatch(name)
