"""An image as documents: its config, manifest and index, and Docker's `manifest.json`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct, field

from nixdock.oci.attachment import Attachment
from nixdock.oci.attestation import index_with_attestation
from nixdock.oci.descriptor import Blob, Descriptor, Platform, canonical_json, without_none
from nixdock.oci.layer_blob import LayerBlob
from nixdock.oci.layout import CONTAINERD_NAME, REF_NAME
from nixdock.oci.media_types import CONFIG_MEDIA_TYPE, INDEX_MEDIA_TYPE, MANIFEST_MEDIA_TYPE
from nixdock.oci.own_keys import LAYER_KEY, MEMORY_KEY
from nixdock.oci.reference import Reference

__all__ = ["Annotations", "HistoryEntry", "Image", "ImageConfig", "manifest_of"]


class HistoryEntry(Struct, frozen=True):
    """The history of a layer, or of a build step that created none; `created` is RFC 3339."""

    created: str | None
    created_by: str | None
    comment: str | None
    author: str | None = None
    empty_layer: bool = False

    def document(self) -> dict[str, Any]:
        """Return the JSON object."""
        return without_none(
            {
                "created": self.created,
                "created_by": self.created_by,
                "comment": self.comment,
                "author": self.author,
                "empty_layer": self.empty_layer or None,
            }
        )


class ImageConfig(Struct, frozen=True):
    """An image config (image-spec, config.md); `container` is its `config` object.

    `memory` is what nixdock remembers of the image, if it remembers anything.
    """

    created: str
    platform: Platform
    container: Mapping[str, Any]
    diff_ids: tuple[str, ...]
    history: tuple[HistoryEntry, ...]
    memory: Mapping[str, Any] | None = None

    def blob(self) -> Blob:
        """Return the config as a blob."""
        document: dict[str, Any] = {
            "created": self.created,
            **self.platform.document(),
            "config": dict(self.container),
            "rootfs": {"type": "layers", "diff_ids": list(self.diff_ids)},
            "history": [entry.document() for entry in self.history],
        }
        if self.memory is not None:
            document[MEMORY_KEY] = dict(self.memory)
        return Blob(CONFIG_MEDIA_TYPE, canonical_json(document))


class Annotations(Struct, frozen=True):
    """The annotations of a manifest, and those of each layer that is not the base image's."""

    manifest: Mapping[str, str] = field(default_factory=dict)
    layers: Mapping[str, str] = field(default_factory=dict)


def manifest_of(
    config: Blob,
    layers: Sequence[LayerBlob],
    annotations: Annotations | None = None,
    *,
    base_layers: int = 0,
) -> Blob:
    """Return the manifest of an image with this config and these layers, bottom to top.

    The lowest ones, `base_layers`, are those of the base image.
    """
    annotations = annotations or Annotations()
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_MEDIA_TYPE,
        "config": config.descriptor().document(),
        "layers": [
            _descriptor(layer, annotations.layers if i >= base_layers else {}).document()
            for i, layer in enumerate(layers)
        ],
    }
    if annotations.manifest:
        document["annotations"] = dict(annotations.manifest)
    return Blob(MANIFEST_MEDIA_TYPE, canonical_json(document))


def _descriptor(layer: LayerBlob, annotations: Mapping[str, str]) -> Descriptor:
    key = {} if layer.key is None else {LAYER_KEY: layer.key}
    own = {**annotations, **layer.annotations, **key}
    return Descriptor(layer.media_type, layer.digest, layer.size, own)


class Image(Struct, frozen=True):
    """Layers whose digests are known, bottom to top, with their config and manifest.

    `attachments` are what refers to the manifest, and is kept beside it. With an `attestation`, the
    names stand for an index of both.
    """

    layers: tuple[LayerBlob, ...]
    config: Blob
    manifest: Blob
    platform: Platform
    references: tuple[Reference, ...]
    attachments: tuple[Attachment, ...] = ()
    attestation: Attachment | None = None

    @property
    def reference(self) -> Reference:
        """The first of the image's names."""
        return self.references[0]

    @classmethod
    def of(
        cls,
        layers: Sequence[LayerBlob],
        *,
        references: Sequence[Reference],
        platform: Platform,
        container: Mapping[str, Any],
        created: str,
        base_history: Sequence[HistoryEntry] = (),
        memory: Mapping[str, Any] | None = None,
        annotations: Annotations | None = None,
    ) -> Image:
        """Create the config and the manifest of `layers`.

        `references` are the names of the image, at least one. `container` is the config's `config`
        object. `base_history` is the history of the lowest layers: an entry for each, and perhaps
        some for build steps that created none. `memory` is what nixdock remembers of the image.
        `annotations` are those of the manifest and of its layers.
        """
        base_layers = sum(not entry.empty_layer for entry in base_history)
        config = ImageConfig(
            created=created,
            platform=platform,
            container=container,
            diff_ids=tuple(layer.diff_id for layer in layers),
            history=(
                *base_history,
                *(
                    HistoryEntry(created, layer.history.created_by, layer.history.comment)
                    for layer in layers[base_layers:]
                ),
            ),
            memory=memory,
        ).blob()
        return cls(
            layers=tuple(layers),
            config=config,
            manifest=manifest_of(config, layers, annotations, base_layers=base_layers),
            platform=platform,
            references=tuple(references),
        )

    @property
    def root(self) -> Blob:
        """What the names stand for: the manifest, or the index with an attestation."""
        if self.attestation is None:
            return self.manifest
        image = self.manifest.descriptor(platform=self.platform)
        return index_with_attestation(image, self.attestation)

    @property
    def documents(self) -> tuple[Blob, ...]:
        """The blobs beside the layers, each once: manifests, index, config and attachments."""
        beside = (*self.attachments, *(() if self.attestation is None else (self.attestation,)))
        attached = (blob for each in beside for blob in (each.manifest, *each.blobs))
        return tuple(dict.fromkeys((self.root, self.manifest, self.config, *attached)))

    def index(self) -> bytes:
        """Return the `index.json` of a layout with this image alone: an entry for each name.

        Entries without names are those of attachments.
        """
        attached = []
        if self.attachments:
            from nixdock.oci.referrers import referrer_entry  # noqa: PLC0415 (few images have any)

            attached = [referrer_entry(each.manifest) for each in self.attachments]
        platform = self.platform if self.attestation is None else None
        document = {
            "schemaVersion": 2,
            "mediaType": INDEX_MEDIA_TYPE,
            "manifests": [
                *(
                    self.root.descriptor(
                        {REF_NAME: reference.tag, CONTAINERD_NAME: reference.canonical}, platform
                    ).document()
                    for reference in self.references
                ),
                *attached,
            ],
        }
        return canonical_json(document)

    def docker_manifest(self, config_path: str, layer_paths: Iterable[str]) -> bytes:
        """Return the `manifest.json` of a docker-archive that has its files at these paths."""
        entry = {
            "Config": config_path,
            "RepoTags": [str(reference) for reference in self.references],
            "Layers": list(layer_paths),
        }
        return canonical_json([entry])
