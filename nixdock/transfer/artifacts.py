"""Artifacts in OCI layouts: manifests and indexes of no image, which readers of images skip."""

from __future__ import annotations

from nixdock.oci.descriptor import Blob
from nixdock.oci.documents import DescriptorDocument, IndexDocument
from nixdock.oci.layout import INDEX, REF_NAME
from nixdock.oci.layout_names import entry_name
from nixdock.oci.media_types import CONFIG_MEDIA_TYPES, LAYER_CODINGS
from nixdock.oci.untrusted_json import MOST_JSON, converted, parse_json
from nixdock.read.members import Members, read_whole
from nixdock.transfer.source import LayoutSource
from nixdock.transfer.tree import Tree, parse_index, parse_manifest, read_tree

__all__ = ["artifact_in", "has_image"]


def artifact_in(
    members: Members, source: LayoutSource, name: str | None
) -> tuple[Tree, tuple[str, ...]] | None:
    """Return the only artifact with that name, or without one the only entry, and its names.

    Return None if it is an image, or if there is none. Raise ImageError if it is damaged.
    """
    if INDEX not in members:
        return None
    document = parse_json(read_whole(members, INDEX, MOST_JSON), INDEX)
    entries = converted(document, IndexDocument, INDEX).manifests
    found = [each for each in entries if name is None or name in _names(each)]
    if len({each.digest for each in found}) != 1:
        return None
    tree = read_tree(source, source.manifest(found[0]))
    if has_image(tree):
        return None
    # The full name is written last, and says more.
    return tree, tuple(dict.fromkeys(names[-1] for each in found if (names := _names(each))))


def has_image(tree: Tree) -> bool:
    """Tell whether a tree is an image, or an index of some, and not only an artifact."""
    return any(_is_image(each.manifest) for each in tree.walk())


def _names(entry: DescriptorDocument) -> list[str]:
    annotations = entry.annotations or {}
    return [name for name in (annotations.get(REF_NAME), entry_name(annotations)) if name]


def _is_image(manifest: Blob) -> bool:
    if parse_index(manifest) is not None:
        return False
    document = parse_manifest(manifest)
    if document.config.media_type not in CONFIG_MEDIA_TYPES:
        return False
    has_layers = any(layer.media_type in LAYER_CODINGS for layer in document.layers)
    return document.artifact_type is None or has_layers
