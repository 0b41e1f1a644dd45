"""Images that a spec describes, as if they had been written: what is in them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from nixdock.build.build import prepared_build
from nixdock.build.inspection import inspect_build, outline_build
from nixdock.build.previous import may_continue, replaced_plan
from nixdock.diff.side import Document, Side, SideKind, SideLayer
from nixdock.errors import InputError
from nixdock.face.known_layers import Sources, known_to, packed_blobs
from nixdock.face.specs import check_platform
from nixdock.layers.known import existing_layers, known_layers
from nixdock.layers.progress import NO_PROGRESS, Progress
from nixdock.nix.stated_references import StatedReferences
from nixdock.nix.store_path import valid_store_paths
from nixdock.oci.descriptor import Platform
from nixdock.oci.layout import Format
from nixdock.oci.location import FileLocation, location_text
from nixdock.read.contents import read_contents
from nixdock.read.report import FileReport, inspect_images
from nixdock.read.selection import select_only_image
from nixdock.registry.opening import open_location
from nixdock.rootfs.confinement import Confinement
from nixdock.spec.chosen_previous import with_previous
from nixdock.spec.chosen_stores import with_stores
from nixdock.system.scratch import temporary_directory, temporary_file
from nixdock.write.image import default_compression, write_image

if TYPE_CHECKING:
    from nixdock.build.build import Build
    from nixdock.face.describing import Describing
    from nixdock.layering.plan_history import PreviousPlan
    from nixdock.oci.layer_blob import LayerBlob
    from nixdock.oci.location import Location
    from nixdock.oci.registry_reference import RegistryReference
    from nixdock.read.contents import FileEntry
    from nixdock.registry.access import Access
    from nixdock.spec.image_spec import ImageSpec

__all__ = ["Described"]

# What `nixdock build` writes, and `nixdock push` sends, unless it is told otherwise.
_COMPRESSION: Final = default_compression(Format.ARCHIVE)
_SPEC: Final = "spec"


class Described(Struct, frozen=True):
    """A spec whose image is described.

    `others` are images whose layers are known, besides those that `describing` names; `platform` is
    the one that the image must be for, if it is given. `replaced` is an image in a registry whose
    plan this one continues, as in a push in its place, if the spec names no other.
    """

    spec: ImageSpec
    describing: Describing
    platform: Platform | None = None
    access: Access | None = None
    others: tuple[Location, ...] = ()
    replaced: RegistryReference | None = None

    def report(self, progress: Progress = NO_PROGRESS) -> FileReport:
        """Return the report on the image that `build_image` would write; pack what is not known."""
        with self._packed(progress) as (build, blobs):
            return FileReport(_SPEC, (inspect_build(build, blobs),))

    def quick_report(self) -> FileReport:
        """Return the report on the image as far as it is known; read no file, run no script."""
        with self._prepared(outline=True) as build:
            blobs = self._known(build, self._sources())
            return FileReport(_SPEC, (outline_build(build, blobs, _COMPRESSION),))

    def report_with_files(self, progress: Progress = NO_PROGRESS) -> FileReport:
        """Return the same report as `report`, with the files of the layers; pack all of them."""
        with (
            temporary_directory() as directory,
            self._prepared() as build,
        ):
            progress.start([layer.weight for layer in build.layers])
            layout = directory / "image"
            write_image(build, layout, Format.OCI_LAYOUT, _COMPRESSION, progress)
            with open_location(FileLocation(layout)) as file:
                report = inspect_images(file.without_path(), with_files=True)
        return replace(report, format=_SPEC)

    def layer_files(self, number: int) -> tuple[FileEntry, ...]:
        """Return the members of the layer with this number; pack that one alone."""
        with self._prepared() as build:
            if not 0 < number <= len(build.layers):
                raise InputError(f"{self.spec.references[0]} has no layer {number}")
            with io.BufferedRandom(temporary_file()) as file:
                build.layers[number - 1].sized(()).write_to(file.write)
                file.seek(0)
                contents = read_contents(file, f"layer {number}", with_files=True)
        return contents.files or ()

    def side(self, origin: str) -> Side:
        """Return the image as a side of a comparison; pack what is not known."""
        with self._packed(NO_PROGRESS) as (build, blobs):
            report = inspect_build(build, blobs)
            image = build.assemble([blobs[i] for i in range(len(blobs))])
        layers = (
            SideLayer(
                number=number,
                paths=tuple(valid_store_paths(layer.store_paths)),
                size=layer.size or 0,
                digest=layer.digest,
                diff_id=layer.diff_id,
                comment=layer.comment or layer.created_by,
            )
            for number, layer in enumerate(report.layers, 1)
        )
        config, manifest = (
            Document(blob.digest, len(blob.data)) for blob in (image.config, image.manifest)
        )
        return Side(
            origin,
            SideKind.SPEC,
            tuple(layers),
            config,
            manifest,
            self.spec.platform,
            report,
            self.stated(),
        )

    def stated(self) -> StatedReferences:
        """Return what the spec states of the references of its store paths."""
        from nixdock.face.materials import own_contents

        own = own_contents(self._with_stores(), self.access)
        return StatedReferences(own.infos, frozenset(own.with_references), "the spec")

    @contextmanager
    def _prepared(self, *, outline: bool = False) -> Iterator[Build]:
        spec = self.spec
        check_platform(spec, self.platform)
        confinement = Confinement(self.describing.confinement)
        spec = with_previous(self._with_stores(), self.describing.previous)
        previous = self._replaced_plans(spec)
        with prepared_build(
            spec, confinement, self.access, outline=outline, previous=previous
        ) as build:
            yield build

    def _with_stores(self) -> ImageSpec:
        describing = self.describing
        return with_stores(self.spec, describing.stores, describing.trusted_public_keys)

    def _replaced_plans(self, spec: ImageSpec) -> list[PreviousPlan]:
        if self.replaced is None or not may_continue(spec):
            return []
        with open_location(self.replaced, self.access, platform=spec.platform) as file:
            image = select_only_image(file, spec.platform)
            plan = replaced_plan(image.config, location_text(self.replaced))
        return [] if plan is None else [plan]

    @contextmanager
    def _packed(self, progress: Progress) -> Iterator[tuple[Build, dict[int, LayerBlob]]]:
        """Give the build and the blobs of all its layers, by their numbers."""
        sources = self._sources()
        with self._prepared() as build:
            known = self._known(build, sources)
            blobs = packed_blobs(sources, build, _COMPRESSION, known, progress)
            yield build, dict(enumerate(blobs))

    def _sources(self) -> Sources:
        sources = Sources.of(self.describing.reuse, use_cache=self.describing.use_cache)
        return replace(sources, images=(*sources.images, *self.others))

    def _known(self, build: Build, sources: Sources) -> dict[int, LayerBlob]:
        """Return the blobs that are known; whoever reads existing layers verifies them."""
        known = known_to(sources, build, _COMPRESSION, self.access)
        blobs = known_layers(build.layers, _COMPRESSION, known.blobs)
        return blobs | existing_layers(build.layers, blobs)
