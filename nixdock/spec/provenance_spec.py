"""The part of a spec that says where the image comes from."""

from __future__ import annotations

from typing import Annotated

import msgspec

__all__ = ["ProvenanceSpec"]


class ProvenanceSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where the image comes from, for its provenance; what is not known is left out."""

    flake: Annotated[
        Annotated[str, msgspec.Meta(pattern="^[a-z][a-z0-9+.-]*:.")] | None,
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
