from __future__ import annotations

from pathlib import Path

import pytest

from nixdock.errors import InputError
from nixdock.stores.cache_url import CacheUrl


@pytest.mark.parametrize(
    ("text", "url", "priority", "trusted"),
    [
        ("https://cache.nixos.org", "https://cache.nixos.org", None, False),
        ("https://Cache.NixOS.org/", "https://cache.nixos.org", None, False),
        ("http://[::1]:8080/a/b/", "http://[::1]:8080/a/b", None, False),
        ("https://x/p?priority=10&trusted=1&compression=xz", "https://x/p", 10, True),
        ("https://x?priority=-5", "https://x", -5, False),
        ("https://x?trusted=false", "https://x", None, False),
        ("file:///a%20b/c?trusted=true", "file:///a%20b/c", None, True),
    ],
)
def test_urls(text: str, url: str, priority: int | None, trusted: bool) -> None:
    assert CacheUrl.parse(text) == CacheUrl(url, priority, trusted)
    assert str(CacheUrl.parse(text)) == url


def test_directories() -> None:
    assert CacheUrl.parse("file:///a%20b/c").directory == Path("/a b/c")
    assert CacheUrl.parse("file:///").directory == Path("/")
    assert CacheUrl.parse("https://x/c").directory is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "expected https://HOST"),
        ("cache.nixos.org", "expected https://HOST"),
        ("/a/cache", "expected https://HOST"),
        ("s3://bucket", "expected https://HOST"),
        ("https://x:y", "is not the URL of a binary cache"),
        ("https:///path", "names no host"),
        ("file://host/path", "names no directory"),
        ("file:cache", "names no directory"),
        ("https://x/#key", "has a fragment, 'key'"),
        ("https://x?priority=high", "is not a number"),
    ],
)
def test_what_is_no_url_of_a_cache(text: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        CacheUrl.parse(text)


def test_passwords_are_not_repeated() -> None:
    with pytest.raises(InputError) as caught:
        CacheUrl.parse("https://me:secret@cache.example.org/x")
    assert str(caught.value) == (
        "the URL of the binary cache cache.example.org has a username or a password in it; put them"
        " into the netrc file that nix.conf names"
    )
