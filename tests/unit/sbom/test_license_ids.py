"""Identifiers of licences, told from words that make an expression invalid."""

from __future__ import annotations

import pytest

from nixdock.sbom.license_ids import is_license_id


@pytest.mark.parametrize(
    "word",
    ["MIT", "0BSD", "GPL-2.0-only", "GPL-2.0+", "GPL-2.0-with-classpath-exception", "New-1.0"],
)
def test_identifiers(word: str) -> None:
    assert is_license_id(word)


@pytest.mark.parametrize(
    "word",
    [
        "", "AND", "or", "With", "NONE", "NOASSERTION", "LicenseRef-x", "licenseref-x", "+", "-a",
        "DocumentRef-x", "DocumentRef-x:LicenseRef-y", "AdditionRef-x", "MIT OR 0BSD", "(MIT)",
        "MIT++", "MIT\n", "\u00e9", "LLVM-exception", "Classpath-exception-2.0",
        "Linux-syscall-note",
    ],
)  # fmt: skip
def test_other_words(word: str) -> None:
    assert not is_license_id(word)


def test_the_list() -> None:
    """The list of another package: all its licences are identifiers, and no exception is."""
    known = pytest.importorskip("packaging.licenses._spdx")
    licenses = [each["id"] for each in known.LICENSES.values()]
    exceptions = [each["id"] for each in known.EXCEPTIONS.values()]
    assert [each for each in licenses if not is_license_id(each)] == []
    assert [each for each in exceptions if is_license_id(each)] == []
