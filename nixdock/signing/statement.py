"""in-toto statements: a claim, the predicate, about manifests, the subjects."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from nixdock.errors import ImageError, InputError
from nixdock.oci.digests import hex_of
from nixdock.provenance.statement import PREDICATE_TYPE, STATEMENT_TYPE
from nixdock.signing.encoding import decoded_json

__all__ = [
    "SIGNATURE_TYPE",
    "Statement",
    "parse_statement",
    "predicate_type",
    "signature_statement",
    "statement_about",
]

SIGNATURE_TYPE: Final = "https://sigstore.dev/cosign/sign/v1"
"""The type of the predicate that says no more than that somebody has signed the image."""

_STATEMENTS: Final = frozenset({STATEMENT_TYPE, "https://in-toto.io/Statement/v0.1"})
# The names that cosign and nixdock have for types.
_TYPES: Final = {
    "cyclonedx": "https://cyclonedx.org/bom",
    "provenance": PREDICATE_TYPE,
    "slsaprovenance1": PREDICATE_TYPE,
    "spdx": "https://spdx.dev/Document",
    "spdxjson": "https://spdx.dev/Document",
    "vuln": "https://cosign.sigstore.dev/attestation/vuln/v1",
}
_URI: Final = re.compile(r"[a-z][a-z0-9+.-]*:[!-~]+", re.ASCII)


class _Subject(msgspec.Struct, frozen=True):
    digest: dict[str, str]
    name: str | None = None


class Statement(msgspec.Struct, frozen=True, rename="camel"):
    """A statement without its predicate, which is any JSON, and may be large."""

    type: str = msgspec.field(name="_type")
    subject: list[_Subject]
    predicate_type: str

    def is_about(self, digest: str) -> bool:
        """Tell whether a manifest is among the subjects."""
        return any(each.digest.get("sha256") == hex_of(digest) for each in self.subject)


def signature_statement(digest: str) -> bytes:
    """Return the statement that stands for the signature of a manifest."""
    return _written({"digest": {"sha256": hex_of(digest)}}, SIGNATURE_TYPE, b"{}")


def statement_about(digest: str, name: str | None, kind: str, predicate: bytes) -> bytes:
    """Return a statement about one manifest, with the name of its repository if it has one.

    `predicate` is JSON, which keeps its bytes.
    """
    named = {} if name is None else {"name": name}
    return _written({**named, "digest": {"sha256": hex_of(digest)}}, kind, predicate)


def _written(subject: dict[str, Any], kind: str, predicate: bytes) -> bytes:
    return msgspec.json.encode(
        {
            "_type": STATEMENT_TYPE,
            "subject": [subject],
            "predicateType": kind,
            "predicate": msgspec.Raw(predicate),
        }
    )


def parse_statement(data: bytes, what: str = "the statement") -> Statement:
    """Return a statement; raise ImageError, with `what` as its subject, if it is none."""
    statement = decoded_json(data, Statement, what)
    if statement.type not in _STATEMENTS:
        raise ImageError(f"{what} is of the type {statement.type!r}, not {STATEMENT_TYPE!r}")
    return statement


def predicate_type(text: str) -> str:
    """Return the URI of a type that is given by its short name or its URI.

    Raise InputError if it is neither.
    """
    if text in _TYPES:
        return _TYPES[text]
    if _URI.fullmatch(text):
        return text
    raise InputError(
        f"{text!r} is not a type of attestations: it is one of {', '.join(_TYPES)}, or a URI"
    )
