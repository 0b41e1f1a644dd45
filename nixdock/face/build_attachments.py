"""What is attached to an image when it is built or pushed."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
from msgspec import Struct
from msgspec.structs import replace

from nixdock.errors import InputError

if TYPE_CHECKING:
    from nixdock.oci.descriptor import Blob
    from nixdock.oci.image import Image
    from nixdock.provenance.statement import Material
    from nixdock.registry.access import Access
    from nixdock.sbom.reading import Contents
    from nixdock.spec.image_spec import ImageSpec

__all__ = ["AttachAs", "Attaching", "attacher"]


class AttachAs(StrEnum):
    """How something is attached to an image that is built: beside it, or in an index with it."""

    REFERRERS = "referrers"
    INDEX = "index"


class Attaching(Struct, frozen=True):
    """What to attach to an image: a bill of materials, and a statement of its provenance.

    `sbom` is `spdx`, `cyclonedx` or None, and `meta` a file with metadata of packages, as for
    `list_packages`. `builder_id` is the URI of what builds the image, for the provenance. `form` is
    `referrers` or, as BuildKit does, `index`: the names then stand for an index of the image and
    what is attested of it.
    """

    sbom: str | None = None
    meta: str | os.PathLike[str] | None = None
    provenance: bool = False
    builder_id: str | None = None
    form: AttachAs | str = AttachAs.REFERRERS

    def __bool__(self) -> bool:
        return self.sbom is not None or self.provenance


class _Document(Struct, frozen=True):
    """Something to attach: as it is, and what returns it as an in-toto statement."""

    content: Blob
    title: str
    statement: Callable[[], Blob]
    predicate_type: str
    annotations: Mapping[str, str]


def attacher(
    spec: ImageSpec, wanted: Attaching | None, access: Access | None
) -> Callable[[Image], Image] | None:
    """Return what attaches something to an image once its digest is known, or None.

    What it needs is read at once, so that a fault is found before anything is built. Raise what
    `list_packages` raises.
    """
    if not wanted:
        return None
    from nixdock.face.materials import own_contents

    form = AttachAs(wanted.form)
    own = own_contents(spec, access)
    makers = []
    if wanted.sbom is not None:
        makers.append(_sbom_maker(spec, own, wanted.sbom, wanted.meta, access))
    if wanted.provenance:
        makers.append(_provenance_maker(spec, own, wanted.builder_id, access))
    attach = _in_index if form is AttachAs.INDEX else _as_referrers
    return lambda image: attach(image, [make(image) for make in makers])


def _as_referrers(image: Image, documents: Sequence[_Document]) -> Image:
    from nixdock.oci.attachment import attach_content

    subject = image.manifest.descriptor()
    attachments = (
        attach_content(subject, each.content, each.annotations, title=each.title)
        for each in documents
    )
    return replace(image, attachments=tuple(attachments))


def _in_index(image: Image, documents: Sequence[_Document]) -> Image:
    from nixdock.oci.attestation import attestation_of

    statements = {each.predicate_type: each.statement() for each in documents}
    return replace(image, attestation=attestation_of(statements))


def _sbom_maker(
    spec: ImageSpec,
    own: Contents,
    form: str,
    meta: str | os.PathLike[str] | None,
    access: Access | None,
) -> Callable[[Image], _Document]:
    from nixdock.face.materials import bill_of_spec, sbom_json
    from nixdock.oci.descriptor import Blob
    from nixdock.provenance.statement import in_toto_statement
    from nixdock.sbom.metadata import read_metas
    from nixdock.sbom.written import DOCUMENTS

    if form not in DOCUMENTS:
        raise InputError(
            f"{form!r} is not a format of bills of materials: it is {' or '.join(DOCUMENTS)}"
        )
    kind = DOCUMENTS[form]
    metas = {} if meta is None else read_metas(Path(meta))
    bill = bill_of_spec(spec, own, metas, access)

    def make(image: Image) -> _Document:
        digest, config = image.manifest.digest, image.config.digest
        subject = replace(bill.subject, digest=digest, config_digest=config)
        data = sbom_json(replace(bill, subject=subject), form)

        def statement() -> Blob:
            predicate = orjson.loads(data)
            return in_toto_statement(_names(image), digest, kind.predicate_type, predicate)

        content = Blob(kind.media_type, data)
        return _Document(content, f"sbom{kind.suffix}", statement, kind.predicate_type, {})

    return make


def _provenance_maker(
    spec: ImageSpec, own: Contents, builder_id: str | None, access: Access | None
) -> Callable[[Image], _Document]:
    from nixdock.oci.attestation import PREDICATE_ANNOTATION
    from nixdock.provenance.statement import PREDICATE_TYPE

    make_statement = _statement_maker(spec, own, builder_id, access)

    def make(image: Image) -> _Document:
        statement = make_statement(image)
        about = {PREDICATE_ANNOTATION: PREDICATE_TYPE}
        title = "provenance.intoto.json"
        return _Document(statement, title, lambda: statement, PREDICATE_TYPE, about)

    return make


def _names(image: Image) -> list[str]:
    return [str(reference) for reference in image.references]


def _statement_maker(
    spec: ImageSpec, own: Contents, builder_id: str | None, access: Access | None
) -> Callable[[Image], Blob]:
    from nixdock.provenance.from_spec import flake_material, spec_parameters, store_materials
    from nixdock.provenance.statement import UNKNOWN_BUILDER, Builder, provenance_statement
    from nixdock.sbom.written import program_version
    from nixdock.spec.provenance_spec import ProvenanceSpec, check_public_uri

    builder = UNKNOWN_BUILDER if builder_id is None else check_public_uri(builder_id)
    stated = spec.provenance or ProvenanceSpec()
    first = [flake_material(stated), _base_material(spec, access)]
    materials = [
        *(each for each in first if each is not None),
        *store_materials(own.infos.values()),
    ]
    versions = {"nixdock": program_version()}
    if stated.nix_version is not None:
        versions["nix"] = stated.nix_version
    parameters = spec_parameters(spec)

    def make(image: Image) -> Blob:
        return provenance_statement(
            _names(image),
            image.manifest.digest,
            parameters,
            materials,
            Builder(builder, versions),
            system=stated.system,
        )

    return make


def _base_material(spec: ImageSpec, access: Access | None) -> Material | None:
    """Return the base image, by the digest of its manifest or, without one, of its config."""
    from nixdock.oci.digests import hex_of
    from nixdock.oci.location import location_text, parse_location
    from nixdock.oci.media_types import CONFIG_MEDIA_TYPE
    from nixdock.oci.registry_reference import RegistryReference
    from nixdock.provenance.statement import Material
    from nixdock.read.selection import select_image
    from nixdock.registry.opening import open_location

    if spec.from_image is None:
        return None
    base = spec.from_image
    location = parse_location(base.path)
    name: str
    uri: str | None
    with open_location(location, access, platform=spec.platform) as file:
        image = select_image(file, base.name, base.tag, platform=spec.platform)
        # Where a file is matters to nobody else.
        name, uri = next(iter(image.names), "base image"), None
        if isinstance(location, RegistryReference):
            name, uri = location.name, location_text(location)
        digest = image.digest or image.config_digest
        return Material(
            name=name,
            uri=uri,
            digest={"sha256": hex_of(digest)},
            media_type=None if image.digest else CONFIG_MEDIA_TYPE,
        )
