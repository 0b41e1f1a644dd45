"""Package keys: the parts of a name that an update keeps."""

from __future__ import annotations

import pytest

from nixdock.layering.package_keys import package_keys, split_name, version_of
from tests.unit.closures import store_path


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("hello-2.12.1", ("hello", "2.12.1", "")),
        ("openssl-3.0.13-dev", ("openssl", "3.0.13", "dev")),
        ("python3.11-requests-2.28.1", ("python3.11-requests", "2.28.1", "")),
        ("zlib1g-1.2.13.dfsg-1", ("zlib1g", "1.2.13.dfsg-1", "")),
        ("libpng16-16-1.6.39-2", ("libpng16", "16-1.6.39-2", "")),
        ("glibc-2.38-44-bin", ("glibc", "2.38-44", "bin")),
        ("nginx.conf", ("nginx.conf", "", "")),
        ("bash-completion", ("bash-completion", "", "")),
        ("-1", ("-1", "", "")),
        ("a-", ("a-", "", "")),
        ("a--1-", ("a-", "1-", "")),
        ("1-2", ("1", "2", "")),
        ("firefox-unwrapped-120.0", ("firefox-unwrapped", "120.0", "")),
    ],
)
def test_names_are_split_as_nix_does_it(name: str, parts: tuple[str, str, str]) -> None:
    assert split_name(name) == parts
    assert version_of(store_path(name)) == parts[1]


def test_outputs_and_further_versions_have_keys_of_their_own() -> None:
    names = ["openssl-3.0.13", "openssl-1.1.1w", "openssl-3.0.13-dev", "source"]
    keys = package_keys(store_path(name) for name in names)
    assert {key: path.name for key, path in keys.items()} == {
        "openssl": "openssl-1.1.1w",
        "openssl#1": "openssl-3.0.13",
        "openssl-dev": "openssl-3.0.13-dev",
        "source": "source",
    }


def test_an_update_keeps_the_key() -> None:
    old = package_keys([store_path("curl-8.4.0"), store_path("curl-8.4.0-bin", "x")])
    new = package_keys([store_path("curl-8.5.0", "y"), store_path("curl-8.5.0-bin", "z")])
    assert old.keys() == new.keys() == {"curl", "curl-bin"}


def test_paths_of_the_same_name_are_told_apart() -> None:
    same = [store_path("source", salt) for salt in "abc"]
    keys = package_keys(same)
    assert list(keys) == ["source", "source#1", "source#2"]
    assert sorted(keys.values()) == sorted(same)
