"""The part of a spec that says which store paths the image has, and what is known of them."""

from __future__ import annotations

from typing import Annotated

import msgspec

from nixdock.nix.hashes import Hash

__all__ = ["ClosureSpec", "StorePathSpec", "nar_hash_of"]


class ClosureSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The store paths of the image: a reference graph, or roots whose closure stores know."""

    graph: Annotated[
        str | None,
        msgspec.Meta(description="File with the graph, in any form in which Nix exports it."),
    ] = None
    keys: Annotated[
        list[str],
        msgspec.Meta(description="Keys of the graphs in a structured-attrs file; by default all."),
    ] = []
    roots: Annotated[
        list[str],
        msgspec.Meta(
            description="Store paths whose closure the image has; by default all of the graph."
        ),
    ] = []
    stores: Annotated[
        list[str],
        msgspec.Meta(
            description="URLs of binary caches that have what the local store lacks; also of a"
            " resolved spec."
        ),
    ] = []
    trusted_public_keys: Annotated[
        list[str],
        msgspec.Meta(
            description="Keys, NAME:BASE64, whose signatures are trusted, besides those of Nix."
        ),
    ] = []
    derivations: Annotated[
        list[str],
        msgspec.Meta(description="Derivations that have the roots as outputs, for `--realise`."),
    ] = []
    exclude: Annotated[
        list[str], msgspec.Meta(description="Store paths to leave out of the image.")
    ] = []


class StorePathSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The metadata of a store path."""

    nar_size: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] = 0
    nar_hash: str | None = None
    references: Annotated[
        list[str] | None, msgspec.Meta(description="Store paths that it refers to, for `nix_db`.")
    ] = None
    deriver: str | None = None


def nar_hash_of(info: StorePathSpec | None) -> Hash | None:
    """Return the NAR hash of a store path, or None if it is not known."""
    return None if info is None or info.nar_hash is None else Hash.parse(info.nar_hash)
