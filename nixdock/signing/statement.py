"""in-toto statements: a claim, the predicate, about manifests, the subjects."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from nixdock.errors import ImageError, InputError
from nixdock.oci.digests import hex_of
from nixdock.provenance.statement import PREDICATE_TYPE, STATEMENT_TYPE
from nixdock.signing.encoding import decoded_json
from nixdock.system.strict_json import parse_strictly
from nixdock.system.text import shown

__all__ = [
    "SIGNATURE_TYPE",
    "Statement",
    "parse_statement",
    "predicate_type",
    "signature_statement",
    "statement_to_sign",
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
_KEYS: Final = frozenset({"_type", "subject", "predicateType", "predicate"})


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

    def is_about_no_other(self, digest: str) -> bool:
        """Tell whether a manifest is the only one that the subjects name, by whatever digest."""
        own = {"sha256": hex_of(digest)}
        return bool(self.subject) and all(each.digest == own for each in self.subject)


def signature_statement(digest: str) -> bytes:
    """Return the statement that stands for the signature of a manifest."""
    return _written({"digest": {"sha256": hex_of(digest)}}, SIGNATURE_TYPE, b"{}")


def statement_to_sign(
    data: bytes, digest: str, name: str | None, kind: str | None, what: str
) -> bytes:
    """Return the statement in `data`, or one about a manifest with the predicate in `data`.

    The predicate is of the type `kind`, a URI or a short name, and keeps its bytes; `name` is that
    of the manifest's repository, if it has one. Raise InputError, with `what` as its subject, if
    `data` is neither, or if it says more than something about this manifest: whoever wrote it would
    have the signature for that, too.
    """
    wanted = None if kind is None else predicate_type(kind)
    document = _parsed(data, what)
    if not isinstance(document, dict):
        raise InputError(f"{what} has no JSON object, as a predicate or an in-toto statement is")
    if "_type" not in document:
        if wanted is None:
            raise InputError(
                f"{what} is not an in-toto statement; say of which type the predicate in it is"
            )
        _check_is_no_signature(wanted, what)
        named = {} if name is None else {"name": name}
        return _written({**named, "digest": {"sha256": hex_of(digest)}}, wanted, data)
    try:
        statement = parse_statement(data, what)
    except ImageError as error:
        raise InputError(str(error)) from None
    if not statement.is_about(digest):
        raise InputError(f"{what} is a statement about another image, not {digest}")
    if not statement.is_about_no_other(digest):
        raise InputError(
            f"{what} is a statement about other things than {digest}, which would be signed, too;"
            " each of its subjects must have that sha256 alone as its digest"
        )
    if unknown := document.keys() - _KEYS:
        raise InputError(f"{what} has a key that no statement has: {shown(min(unknown))!r}")
    if not isinstance(document.get("predicate", {}), dict):
        raise InputError(f"{what} has a predicate that is not a JSON object")
    if wanted not in {None, statement.predicate_type}:
        raise InputError(f"{what} is of the type {shown(statement.predicate_type)}")
    _check_is_no_signature(statement.predicate_type, what)
    return data


def _parsed(data: bytes, what: str) -> Any:
    try:
        return parse_strictly(data)
    except ValueError as error:
        raise InputError(f"{what} is not valid JSON: {shown(str(error))}") from None


def _check_is_no_signature(kind: str, what: str) -> None:
    if kind == SIGNATURE_TYPE:
        raise InputError(f"{what} would be a signature of the image; sign it without a statement")


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
    """Return a statement; raise ImageError, with `what` as its subject, if it is none.

    All of it is parsed, so this is for statements of whoever is trusted.
    """
    try:
        document = parse_strictly(data)
    except ValueError as error:
        raise ImageError(f"{what} is malformed: {shown(str(error))}") from None
    statement = decoded_json(data, Statement, what)
    # Some readers do not tell the case of keys apart.
    known = {key.lower() for key in _KEYS}
    for key in document:
        if key not in _KEYS and key.lower() in known:
            raise ImageError(f"{what} is ambiguous: it has the key {shown(key)!r}")
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
