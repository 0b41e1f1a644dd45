"""The images of an OCI layout (image-spec, image-layout.md), in a directory or a tar."""

from __future__ import annotations

from typing import Final, NamedTuple

from nixdock.errors import ImageError
from nixdock.oci.attestation import ATTESTATION_TYPE
from nixdock.oci.descriptor_budget import DescriptorBudget
from nixdock.oci.digests import check_digest, hex_of, sha256_digest
from nixdock.oci.documents import (
    DescriptorDocument,
    IndexDocument,
    LayoutDocument,
    ManifestDocument,
    PlatformDocument,
)
from nixdock.oci.layout import BLOBS, CONTAINERD_NAME, INDEX, MARKER, REF_NAME
from nixdock.oci.layout_names import entry_name
from nixdock.oci.media_types import (
    CONFIG_MEDIA_TYPES,
    INDEX_MEDIA_TYPES,
    LAYER_CODINGS,
    MANIFEST_MEDIA_TYPES,
)
from nixdock.oci.own_keys import LAYER_KEY
from nixdock.oci.untrusted_json import MOST_JSON, JsonBudget, converted, parse_json
from nixdock.read.layout_view import BlobUse, LayoutView
from nixdock.read.listed_layers import LayerEntry, parse_config, stored_layers
from nixdock.read.members import Members, read_whole
from nixdock.read.problem import Complain, Problem, pass_on
from nixdock.read.stored import StoredImage, StoredIndex, has_image_layers, with_all_names

__all__ = ["read_layout"]

_LAYOUT_VERSION: Final = "1.0.0"
_MOST_NESTING: Final = 4


class _Context(NamedTuple):
    """The properties that a document inherits from the descriptors that lead to it."""

    depth: int = 0
    names: tuple[str, ...] = ()
    platform: PlatformDocument | None = None
    attestation: bool = False
    within: StoredIndex | None = None


def read_layout(members: Members, complain: Complain) -> LayoutView:
    """Read the layout's documents, each verified against its descriptor, but no layers."""
    reader = _Reader(members, complain)
    reader.read_marker()
    try:
        reader.read_document(read_whole(members, INDEX, MOST_JSON), INDEX, None, _Context())
    except ImageError as error:
        reader.fail(INDEX, error)
    return reader.finish()


class _Reader:
    def __init__(self, members: Members, complain: Complain) -> None:
        self._members = members
        self._complain = complain
        self._descriptors = DescriptorBudget()
        self._budget = JsonBudget()
        self._artifacts: list[Problem] = []
        self.view = LayoutView()

    def finish(self) -> LayoutView:
        """Return the view without artifacts, such as signatures; complain if there is no image."""
        images = [image for image in self.view.images if has_image_layers(image)]
        if images:
            self.view.images = with_all_names(images)
        for problem in () if self.view.images else self._artifacts:
            self._complain(problem)
        return self.view

    def fail(self, place: str, error: ImageError) -> None:
        """Report a document that can't be read, and record that the view is incomplete."""
        self.view.complete = False
        pass_on(error, place, self._complain)

    def read_marker(self) -> None:
        """Check the file `oci-layout`."""
        try:
            marker = parse_json(read_whole(self._members, MARKER, MOST_JSON))
            version = converted(marker, LayoutDocument).image_layout_version
        except ImageError as error:
            pass_on(error, MARKER, self._complain)
            return
        if version != _LAYOUT_VERSION:
            message = f"imageLayoutVersion is {version!r}, not {_LAYOUT_VERSION!r}"
            self._complain(Problem(MARKER, message, key="imageLayoutVersion"))

    def read_document(
        self, data: bytes, place: str, media_type: str | None, context: _Context
    ) -> None:
        """Read an index or a manifest; raise ImageError if it is neither, or could be both."""
        value = parse_json(data, budget=self._budget)
        if not isinstance(value, dict):
            raise ImageError("the document is not a JSON object", place=place)
        # Readers could take it for an index or for a manifest, of another image (CVE-2021-41190).
        if "manifests" in value and ("layers" in value or "config" in value):
            raise ImageError(
                "the document has both manifests and layers: it could be an index or a manifest",
                place=place,
            )
        if "manifests" in value:
            index = converted(value, IndexDocument)
            self._check_types(index, place, media_type)
            if context.depth and context.within is None:
                context = context._replace(within=StoredIndex.of(sha256_digest(data), index))
            self._read_index(index, place, context)
        elif media_type is None:
            raise ImageError(
                "the document has no manifests: it is not an index", place=place, key="manifests"
            )
        else:
            manifest = converted(value, ManifestDocument)
            self._check_types(manifest, place, media_type)
            self._read_manifest(manifest, data, place, context)

    def _check_types(
        self, document: IndexDocument | ManifestDocument, place: str, declared: str | None
    ) -> None:
        if document.schema_version != 2:
            message = f"schemaVersion is {document.schema_version}, not 2"
            self._complain(Problem(place, message, key="schemaVersion"))
        known, noun = MANIFEST_MEDIA_TYPES, "a manifest"
        if isinstance(document, IndexDocument):
            known, noun = INDEX_MEDIA_TYPES, "an index"
        own = document.media_type
        for text in (own, declared):
            if text is not None and text not in known:
                message = f"the document is {noun}, but its media type is {text!r}"
                self._complain(Problem(place, message, key="mediaType"))
                return
        if own is not None and declared is not None and own != declared:
            message = f"the mediaType is {own!r}, but the descriptor says {declared!r}"
            self._complain(Problem(place, message, key="mediaType"))

    def _read_index(self, index: IndexDocument, place: str, context: _Context) -> None:
        if context.depth >= _MOST_NESTING:
            raise ImageError(
                f"the document is an index within {_MOST_NESTING} others; no more are read",
                place=place,
            )
        self._descriptors.take(len(index.manifests), "the layout")
        present = [self._has_blob(child) for child in index.manifests]
        for i, child in enumerate(index.manifests):
            # A copy of one platform's image keeps the whole index, so that its digest stays valid.
            if context.depth and child.platform and not present[i] and any(present):
                continue
            self._follow(child, f"{place}: manifests[{i}]", context)

    def _has_blob(self, descriptor: DescriptorDocument) -> bool:
        return f"{BLOBS}/{hex_of(descriptor.digest)}" in self._members

    def _follow(self, child: DescriptorDocument, place: str, context: _Context) -> None:
        annotations = child.annotations or {}
        names = context.names
        if not context.depth:
            names = tuple(filter(None, (entry_name(annotations),)))
            keys = (REF_NAME, CONTAINERD_NAME)
            self.view.names += [(key, annotations[key]) for key in keys if key in annotations]
        below = _Context(
            context.depth + 1,
            names,
            child.platform or context.platform,
            context.attestation or ATTESTATION_TYPE in annotations,
            context.within,
        )
        data = self._read_blob(child, place)
        if data is None:
            return
        place = f"{'index' if child.media_type in INDEX_MEDIA_TYPES else 'manifest'} {child.digest}"
        try:
            self.read_document(data, place, child.media_type, below)
        except ImageError as error:
            self.fail(place, error)

    def _use(self, descriptor: DescriptorDocument, place: str) -> BlobUse | None:
        """Check a descriptor and record its blob's name; return None if the blob is missing."""
        try:
            name = f"{BLOBS}/{hex_of(check_digest(descriptor.digest))}"
        except ImageError as error:
            self.fail(place, error)
            return None
        use = BlobUse(name, descriptor.digest, descriptor.size, place)
        if use.size < 0:
            self._complain(Problem(place, f"the size is {use.size}", key="size"))
            return None
        if descriptor.is_embedded_wrongly:
            message = f"the data in the descriptor is not the blob {use.digest}"
            self._complain(Problem(place, message, use.digest, "data"))
        if name not in self._members:
            message = f"the blob {descriptor.digest} is missing"
            self._complain(Problem(place, message, descriptor.digest))
            return None
        self.view.files.add(name)
        return use

    def _read_blob(self, descriptor: DescriptorDocument, place: str) -> bytes | None:
        use = self._use(descriptor, place)
        if use is None:
            self.view.complete = False
            return None
        try:
            data = read_whole(self._members, use.name, min(MOST_JSON, self._budget.bytes_left))
        except ImageError as error:
            self.fail(place, error)
            return None
        # Count each time: a document to which several descriptors refer is read several times.
        self._budget.bytes_left -= len(data)
        if len(data) != use.size:
            message = f"the blob {use.digest} has {len(data)} bytes, but should have {use.size}"
            self._complain(Problem(place, message))
        digest = sha256_digest(data)
        if digest != use.digest:
            message = f"the blob {use.digest} is damaged: its digest is {digest}"
            self._complain(Problem(place, message, digest))
        return data

    def _read_manifest(
        self, manifest: ManifestDocument, data: bytes, place: str, context: _Context
    ) -> None:
        self._descriptors.take(1 + len(manifest.layers), "the layout")
        config_type = manifest.config.media_type
        is_artifact = config_type not in CONFIG_MEDIA_TYPES
        if is_artifact:
            message = f"the config's media type {config_type!r} is not that of an image's config"
            self._artifacts.append(Problem(place, message, key="config.mediaType"))
        elif (context.attestation or manifest.artifact_type is not None) and not any(
            layer.media_type in LAYER_CODINGS for layer in manifest.layers
        ):
            # What only says that it is something else, and has layers, is unpacked by runtimes.
            is_artifact = True
            message = f"it is an artifact ({manifest.artifact_type or 'an attestation'}), no image"
            self._artifacts.append(Problem(place, message, key="artifactType"))
        config_data = self._read_blob(manifest.config, f"{place}: config")
        entries: list[LayerEntry | None] = []
        for i, layer in enumerate(manifest.layers):
            layer_place = f"layer {i + 1} of {place}"
            use = self._use(layer, layer_place)
            if use is None:
                entries.append(None)
                continue
            self.view.blobs.append(use)
            noted = layer.annotations or {}
            entries.append(
                LayerEntry(
                    use.name,
                    layer_place,
                    layer.media_type,
                    use.digest,
                    layer.size,
                    noted.get(LAYER_KEY),
                    noted,
                )
            )
        if is_artifact or config_data is None:
            return
        config_place = f"config {manifest.config.digest}"
        config = parse_config(config_data, config_place, self._complain, self._budget)
        if config is None:
            return
        self.view.images.append(
            StoredImage(
                place=place,
                names=context.names,
                config=config,
                config_data=config_data,
                manifest_data=data,
                layers=stored_layers(self._members, entries, config, config_place, self._complain),
                declared_platform=context.platform,
                index=context.within,
                annotations=manifest.annotations or {},
            )
        )
