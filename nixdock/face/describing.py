"""How an image is described that only its spec tells of."""

from __future__ import annotations

from msgspec import Struct

from nixdock.rootfs.confinement import Confinement

__all__ = ["Describing"]


class Describing(Struct, frozen=True):
    """How to find out what the image of a spec is like, without writing it.

    Its layers are packed to compute their digests, except those that the images at the locations
    `reuse`, the previous image that the spec names, or, with `use_cache`, the user's cache know.
    `confinement` is that of `build_image`. `stores` and `trusted_public_keys` are added to those of
    the spec's closure. `previous` are the locations of plan files and images that it continues in
    place of those that it names, the newest first.
    """

    reuse: tuple[str, ...] = ()
    use_cache: bool = False
    confinement: Confinement | str = "required"
    stores: tuple[str, ...] = ()
    trusted_public_keys: tuple[str, ...] = ()
    previous: tuple[str, ...] = ()
