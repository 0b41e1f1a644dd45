"""The part of a spec that says where the image comes from."""

from __future__ import annotations

import re
from typing import Annotated, Final
from urllib.parse import urlsplit

import msgspec

from nixdock.errors import InputError

__all__ = ["ProvenanceSpec", "check_public_uri"]

_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!-~]+", re.ASCII)


class ProvenanceSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where the image comes from, for its provenance; what is not known is left out."""

    flake: Annotated[
        Annotated[str, msgspec.Meta(pattern="^[A-Za-z][A-Za-z0-9+.-]*:.")] | None,
        msgspec.Meta(description="Reference of the flake, as a URI, such as github:me/app."),
    ] = None
    revision: Annotated[
        str | None, msgspec.Meta(description="Revision of the flake's source: a Git commit.")
    ] = None
    nix_version: Annotated[
        str | None, msgspec.Meta(description="Version of the Nix that has evaluated the image.")
    ] = None
    system: Annotated[
        str | None, msgspec.Meta(description="System on which it is built, such as x86_64-linux.")
    ] = None


def check_public_uri(text: str) -> str:
    """Return a URI that everybody may read; raise InputError if it is none, or has a password."""
    if _URI.fullmatch(text) is None:
        raise InputError(f"{text!r} is not a URI, such as github:me/app or https://ci.example/run")
    try:
        has_password = urlsplit(text).password is not None
    except ValueError as error:
        raise InputError(f"{text!r} is not a URI: {error}") from None
    if has_password:
        # The message must not have it, either.
        raise InputError("the URI has a password, and everybody could read it; leave it out")
    return text
