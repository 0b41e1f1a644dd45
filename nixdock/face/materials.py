"""Bills of materials: what closures, specs and images consist of."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from nixdock.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nixdock.nix.closure import Closure
    from nixdock.nix.store_path import StorePath
    from nixdock.oci.attachment import Attachment
    from nixdock.oci.descriptor import Descriptor, Platform
    from nixdock.oci.location import Location, Place
    from nixdock.read.stored import StoredImage
    from nixdock.registry.access import Access
    from nixdock.sbom.bill import Bill, Subject
    from nixdock.sbom.metadata import PackageMeta
    from nixdock.sbom.reading import Contents
    from nixdock.spec.image_spec import ImageSpec

__all__ = [
    "bill_of_spec",
    "image_bill",
    "list_packages",
    "own_contents",
    "sbom_attachment",
    "sbom_json",
]


def list_packages(
    source: Closure | ImageSpec | Place,
    *,
    meta: str | os.PathLike[str] | None = None,
    platform: str | None = None,
    access: Access | None = None,
) -> Bill:
    """Return the bill of materials of a closure, a spec, or what is at a place.

    At the place is an image in any format, a spec, which may be resolved, or a reference graph; `-`
    is standard input, for a spec or graph. The layers of images are read and verified. `meta` is a
    file with the licences and other metadata of packages, in the form that `nix-env --query --json`
    prints. `platform`, as OS/ARCHITECTURE[/VARIANT], selects one of several images; the default is
    linux/amd64.

    Raise InputError or one of its subclasses if `source` or `meta` is none of these, ImageError if
    an image or a database in it is damaged, RegistryError if a registry does not send it, and
    StoreError or CacheError if the stores that a spec names do not have its closure.
    """
    from nixdock.face.sources import read_source
    from nixdock.face.specs import check_no_platform, check_platform
    from nixdock.nix.closure import Closure
    from nixdock.oci.location import location_of
    from nixdock.oci.platforms import wanted_platform
    from nixdock.sbom.bill import Bill
    from nixdock.sbom.metadata import read_metas
    from nixdock.sbom.subjects import subject_of_closure
    from nixdock.spec.image_spec import ImageSpec

    metas = {} if meta is None else read_metas(Path(meta))
    wanted = wanted_platform(platform)
    known = source if isinstance(source, Closure | ImageSpec) else read_source(location_of(source))
    match known:
        case Closure():
            check_no_platform(wanted)
            bill = _bill(subject_of_closure(()), _closure_contents(known), metas)
            return Bill(subject_of_closure([*bill.top_packages()]), bill.packages)
        case ImageSpec():
            check_platform(known, wanted)
            return bill_of_spec(known, own_contents(known, access), metas, access)
        case _:
            return _bill(*_image(known, wanted, access), metas)


def _bill(subject: Subject, contents: Contents, metas: Mapping[StorePath, PackageMeta]) -> Bill:
    from nixdock.sbom.bill import Bill
    from nixdock.sbom.packages import packages_of

    packages = packages_of(contents.infos, contents.with_references, metas)
    return Bill(subject, packages, contents.base)


def sbom_json(bill: Bill, form: str) -> bytes:
    """Return a bill of materials as a JSON document: `form` is `spdx` or `cyclonedx`.

    The same bill gives the same bytes. Raise InputError for another format.
    """
    from nixdock.sbom.cyclonedx import cyclonedx_document
    from nixdock.sbom.spdx import spdx_document
    from nixdock.system.json_text import json_text

    match form:
        case "spdx":
            return json_text(spdx_document(bill))
        case "cyclonedx":
            return json_text(cyclonedx_document(bill))
    raise InputError(f"{form!r} is not a format of bills of materials: it is spdx or cyclonedx")


def sbom_attachment(
    image: Descriptor, bill: Bill, form: str, annotations: Mapping[str, str] | None = None
) -> Attachment:
    """Return the attachment of a bill of materials to the image with that descriptor."""
    from nixdock.oci.attachment import attach_content
    from nixdock.oci.descriptor import Blob
    from nixdock.sbom.written import DOCUMENTS

    data = sbom_json(bill, form)
    kind = DOCUMENTS[form]
    blob = Blob(kind.media_type, data)
    return attach_content(image, blob, annotations, title=f"sbom{kind.suffix}")


def image_bill(
    image: StoredImage, location: Location, metas: Mapping[StorePath, PackageMeta]
) -> Bill:
    """Return the bill of materials of an open image, as `list_packages` does."""
    from nixdock.sbom.reading import read_layers
    from nixdock.sbom.subjects import subject_of_image

    return _bill(subject_of_image(image, location), read_layers(image.layers), metas)


def _closure_contents(closure: Closure) -> Contents:
    from nixdock.sbom.reading import Contents

    return Contents(closure.infos, closure.infos.keys())


def bill_of_spec(
    spec: ImageSpec, own: Contents, metas: Mapping[StorePath, PackageMeta], access: Access | None
) -> Bill:
    """Return the bill of materials of a spec with these store paths of its own."""
    from nixdock.oci.location import parse_location
    from nixdock.rootfs.base_image import open_base_image
    from nixdock.sbom.reading import read_layers
    from nixdock.sbom.subjects import subject_of_spec

    contents = own
    if spec.from_image is not None:
        base = spec.from_image
        location = parse_location(base.path)
        with open_base_image(location, base.name, base.tag, spec.platform, access) as opened:
            contents = own.above(read_layers(opened.layers, spec.store.directory))
    return _bill(subject_of_spec(spec), contents, metas)


def own_contents(spec: ImageSpec, access: Access | None) -> Contents:
    """Return the store paths of a spec, without those of its base image."""
    from nixdock.build.closure import read_closure
    from nixdock.build.sources import store_of

    planned = spec.planned_closure
    if planned is None:
        return _resolved_contents(spec)
    source, store_dir = store_of(spec, access), spec.store.directory
    return _closure_contents(read_closure(planned, source, store_dir, registered=spec.nix_db))


def _resolved_contents(spec: ImageSpec) -> Contents:
    """Return the store paths of a resolved spec; it may lack their references."""
    from nixdock.nix.closure import PathInfo
    from nixdock.nix.store_path import StorePath
    from nixdock.sbom.reading import Contents
    from nixdock.spec.closure_spec import StorePathSpec, nar_hash_of

    infos = {}
    with_references = set()
    for text in (text for layer in spec.store_layers or () for text in layer):
        path = StorePath.parse(text, spec.store.directory)
        known = spec.store_paths.get(text, StorePathSpec())
        references = known.references
        infos[path] = PathInfo(
            path,
            known.nar_size,
            nar_hash_of(known),
            tuple(StorePath.parse(reference) for reference in references or ()),
            known.deriver,
        )
        if references is not None:
            with_references.add(path)
    return Contents(infos, with_references)


def _image(
    location: Location, platform: Platform | None, access: Access | None
) -> tuple[Subject, Contents]:
    from nixdock.oci.descriptor import Platform
    from nixdock.read.selection import select_image
    from nixdock.registry.opening import open_location
    from nixdock.sbom.reading import read_layers
    from nixdock.sbom.subjects import subject_of_image

    # The layers are read to find store paths, and some again to find other packages.
    with open_location(location, access, platform=platform or Platform(), keep=True) as file:
        image = select_image(file, platform=platform)
        return subject_of_image(image, location), read_layers(image.layers)
