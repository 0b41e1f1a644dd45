"""How images are joined in an index."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field

from nixdock.layers.compression import Compression

__all__ = ["Indexing"]


class Indexing(Struct, frozen=True):
    """What an index is like, and how it is written.

    `names`, each NAME:TAG, are those of an index in a file; by default, those that all of its
    images have. `annotations` are added to those of the image-spec that the manifests of all images
    have in common, unless `default_annotations` is False. `compression` is that of the layers of
    images that are built for a file, and `mtime` the time of an archive's members, in seconds since
    1970. The cache of the user learns layers that are built, with `use_cache`. With `referrers`,
    what is attached to images that exist goes along, and what is attached to that.
    """

    names: tuple[str, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)
    default_annotations: bool = True
    compression: Compression = Compression.GZIP
    mtime: int = 1
    use_cache: bool = True
    referrers: bool = False
