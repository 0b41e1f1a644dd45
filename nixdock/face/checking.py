"""Checking closures, specs and images against policies."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from nixdock.errors import InputError
from nixdock.policy.findings import Finding, PolicyReport
from nixdock.policy.policy import Policy, Rule

if TYPE_CHECKING:
    from nixdock.diff.side import Side
    from nixdock.face.describing import Describing
    from nixdock.layers.progress import Progress
    from nixdock.nix.closure import Closure
    from nixdock.oci.descriptor import Platform
    from nixdock.oci.location import Location, Place
    from nixdock.read.stored import StoredImage
    from nixdock.registry.access import Access
    from nixdock.sbom.bill import Bill
    from nixdock.spec.image_spec import ImageSpec

__all__ = ["check_policy", "sarif_json"]

_OF_SIZES: Final = frozenset({Rule.MAX_SIZE, Rule.MAX_LAYERS, Rule.MAX_LAYER, Rule.MAX_UPDATE})
_OF_LICENSES: Final = frozenset({Rule.DENY_LICENSE, Rule.DENY_UNKNOWN_LICENSE})
_OF_CONTENTS: Final = frozenset({Rule.MAX_UNCOMPRESSED, Rule.DENY_PATH})
_OF_PERMISSIONS: Final = frozenset({Rule.DENY_SETUID, Rule.DENY_WORLD_WRITABLE})
_OF_CLOSURES: Final = _OF_LICENSES | _OF_CONTENTS


def check_policy(
    source: Closure | ImageSpec | Place,
    policy: Policy,
    *,
    against: Place | None = None,
    meta: str | os.PathLike[str] | None = None,
    platform: str | None = None,
    progress: Progress | None = None,
    access: Access | None = None,
    describing: Describing | None = None,
) -> PolicyReport:
    """Return everything in a closure, a spec, or what is at a place, that breaks `policy`.

    The source, `meta` and `platform` are those of `list_packages`. `against` is the image that the
    new one replaces, for `max_update`. A spec stands for the image that `build_image` would write,
    or `push_image` send in place of `against`; `describing` says what is known of its layers, and
    how scripts are confined. A closure has no layers: of it, NARs are the uncompressed size, and
    store paths are the paths; other rules for sizes and for files are errors.

    Of an index, the images for all platforms are checked, each for itself, unless there is a
    `platform`; each is compared with the image of `against` for the same platform.

    What need not be read for the rules is not: of an image, sizes alone take only its documents.
    `progress` is told how much of each layer has been read or packed.

    Raise InputError or one of its subclasses if the policy is not valid or has a rule that can't be
    checked, and what `list_packages`, `inspect_image` and `build_image` raise.
    """
    from nixdock.face.sources import read_source
    from nixdock.nix.closure import Closure
    from nixdock.oci.location import location_of, location_text
    from nixdock.policy.patterns import Patterns
    from nixdock.spec.image_spec import ImageSpec

    rules = frozenset(policy.rules())
    if not rules:
        raise InputError("the policy has no rules, so nothing could break it")
    if (Rule.MAX_UPDATE in rules) is (against is None):
        raise InputError(
            f"{Rule.MAX_UPDATE}, the limit for an update, and the image that is updated belong"
            " together",
            key=Rule.MAX_UPDATE,
        )
    if not all(text.strip() for text in policy.denied_licenses):
        raise InputError(
            f"a licence of {Rule.DENY_LICENSE} is empty, so it would deny nothing",
            key=Rule.DENY_LICENSE,
        )
    # Before anything is read.
    Patterns.of((*policy.denied_paths, *policy.allowed_setuid))
    place = None if against is None else location_of(against)
    file = None if meta is None else Path(meta)
    check = _Check(policy, rules, place, file, platform, progress, access, describing)
    if isinstance(source, Closure):
        return check.of_closure(source, "the closure")
    if isinstance(source, ImageSpec):
        return check.of_spec(source, str(source.references[0]))
    location = location_of(source)
    origin = location_text(location)
    match read_source(location):
        case Closure() as closure:
            return check.of_closure(closure, origin)
        case ImageSpec() as spec:
            return check.of_spec(spec, origin)
        case _:
            return check.of_image(location, origin)


def sarif_json(report: PolicyReport) -> bytes:
    """Return a report as SARIF 2.1.0; the same report gives the same bytes."""
    from nixdock.policy.sarif import sarif_document
    from nixdock.sbom.written import document_bytes

    return document_bytes(sarif_document(report))


@dataclass(frozen=True, slots=True)
class _Check:
    """A check, and how to read what is checked; the fields are those of `check_policy`."""

    policy: Policy
    rules: frozenset[Rule]
    against: Location | None
    meta: Path | None
    platform: str | None
    progress: Progress | None
    access: Access | None
    describing: Describing | None

    def of_closure(self, closure: Closure, origin: str) -> PolicyReport:
        from nixdock.face.materials import list_packages

        if unfit := [rule for rule in Rule if rule in self.rules - _OF_CLOSURES]:
            raise InputError(
                f"{origin}: a closure has no layers and no permissions, so {', '.join(unfit)}"
                " can't be checked; check the spec or the image",
                key=unfit[0],
            )
        findings = [*self._closure_sizes(closure, origin), *self._closure_paths(closure)]
        licensed = self.rules & _OF_LICENSES
        bills = [list_packages(closure, meta=self.meta)] if licensed else []
        return self._report(origin, [*findings, *self._licenses(bills)], bills)

    def _closure_sizes(self, closure: Closure, origin: str) -> Iterator[Finding]:
        from nixdock.policy.sizes import uncompressed_findings

        sizes = [info.nar_size for info in closure]
        if Rule.MAX_UNCOMPRESSED in self.rules and not all(sizes):
            raise InputError(
                f"{origin}: the graph does not state the NAR sizes of all store paths, so"
                f" {Rule.MAX_UNCOMPRESSED} can't be checked",
                key=Rule.MAX_UNCOMPRESSED,
            )
        return uncompressed_findings(self.policy, sum(sizes), "the closure")

    def _closure_paths(self, closure: Closure) -> Iterator[Finding]:
        from nixdock.policy.paths import path_finding
        from nixdock.policy.patterns import Patterns

        patterns = Patterns.of(self.policy.denied_paths)
        for path in sorted(closure.infos):
            if (pattern := patterns.within(path)) is not None:
                yield path_finding(path, pattern)

    def of_spec(self, spec: ImageSpec, origin: str) -> PolicyReport:
        from nixdock.face.building import build_image
        from nixdock.face.describing import Describing
        from nixdock.face.materials import list_packages
        from nixdock.oci.layout import Format
        from nixdock.oci.location import FileLocation
        from nixdock.read.selection import select_image
        from nixdock.registry.opening import open_location
        from nixdock.spec.chosen_stores import with_stores
        from nixdock.system.scratch import temporary_directory

        how = self.describing or Describing()
        findings: list[Finding] = []
        if self.rules & _OF_SIZES:
            side = self._spec_side(spec, how, origin)
            findings += self._sizes(side, self._wanted(), spec.platform)
        spec = with_stores(spec, how.stores, how.trusted_public_keys)
        bills = []
        if self.rules & _OF_LICENSES:
            bills.append(
                list_packages(spec, meta=self.meta, platform=self.platform, access=self.access)
            )
        if self.rules & (_OF_CONTENTS | _OF_PERMISSIONS):
            with temporary_directory() as directory:
                layout = directory / "image"
                build_image(
                    spec,
                    layout,
                    form=Format.OCI_LAYOUT,
                    # The files are the same, and are read at once.
                    compression="none",
                    progress=self.progress,
                    confinement=how.confinement,
                    access=self.access,
                )
                with open_location(FileLocation(layout)) as file:
                    findings += self._files(select_image(file), is_local=True)
        return self._report(origin, [*findings, *self._licenses(bills)], bills)

    def _spec_side(self, spec: ImageSpec, how: Describing, origin: str) -> Side:
        from nixdock.face.described import Described
        from nixdock.oci.registry_reference import RegistryReference

        old = self.against
        return Described(
            spec,
            how,
            self._wanted(),
            self.access,
            others=() if old is None else (old,),
            replaced=old if isinstance(old, RegistryReference) else None,
        ).side(origin)

    def of_image(self, location: Location, origin: str) -> PolicyReport:
        from nixdock.face.materials import image_bill
        from nixdock.oci.platforms import platform_text
        from nixdock.read.selection import is_of_several, select_images
        from nixdock.registry.opening import open_location
        from nixdock.sbom.metadata import read_metas

        licensed = self.rules & _OF_LICENSES
        metas = read_metas(self.meta) if licensed and self.meta is not None else {}
        findings: list[Finding] = []
        bills: list[Bill] = []
        platforms: list[str] = []
        wanted = self._wanted()
        # The layers may be read for several rules.
        with open_location(location, self.access, platform=wanted, keep=True) as file:
            for image in select_images(file, wanted):
                own = [image_bill(image, location, metas)] if licensed else []
                several = is_of_several(image)
                found = [*self._of_one(image, location, several=several, is_local=file.is_local)]
                platform = platform_text(image.platform) if several else None
                found = [*found, *self._licenses(own)]
                findings += (replace(each, platform=platform) for each in found)
                bills += own
                platforms += filter(None, [platform])
        return self._report(origin, findings, bills, platforms)

    def _of_one(
        self, image: StoredImage, location: Location, *, several: bool, is_local: bool
    ) -> Iterator[Finding]:
        from nixdock.diff.reading import image_side

        if self.rules & _OF_SIZES:
            wanted = image.platform if several else self._wanted()
            yield from self._sizes(image_side(image, location), wanted)
        if self.rules & (_OF_CONTENTS | _OF_PERMISSIONS):
            yield from self._files(image, self.progress, is_local=is_local)

    def _wanted(self) -> Platform | None:
        from nixdock.oci.platforms import wanted_platform

        return wanted_platform(self.platform)

    def _sizes(
        self, side: Side, wanted: Platform | None, default: Platform | None = None
    ) -> Iterator[Finding]:
        """Yield what is too large.

        The image that is updated is the one for `wanted`, or else of several that for `default`.
        """
        from nixdock.diff.comparison import compare_sides
        from nixdock.diff.reading import image_side
        from nixdock.oci.descriptor import Platform
        from nixdock.policy.sizes import size_findings, update_findings
        from nixdock.read.selection import select_image
        from nixdock.registry.opening import open_location

        yield from size_findings(self.policy, side)
        if self.against is not None:
            usual = default or Platform()
            with open_location(self.against, self.access, platform=wanted or usual) as file:
                old = select_image(file, platform=wanted, default=lambda: usual)
                diff = compare_sides(image_side(old, self.against), side)
            yield from update_findings(self.policy, diff)

    def _files(
        self, image: StoredImage, progress: Progress | None = None, *, is_local: bool
    ) -> Iterator[Finding]:
        from nixdock.layers.progress import NO_PROGRESS
        from nixdock.policy.paths import path_findings, read_contents
        from nixdock.policy.patterns import Patterns
        from nixdock.policy.permissions import permission_findings
        from nixdock.policy.sizes import uncompressed_findings
        from nixdock.read.merging import merged_tree

        if self.rules & _OF_CONTENTS:
            patterns = Patterns.of(self.policy.denied_paths)
            contents = read_contents(
                image.layers, patterns, progress or NO_PROGRESS, is_local=is_local
            )
            size = sum(layer.tar_size for layer in contents)
            yield from uncompressed_findings(self.policy, size, "the uncompressed image")
            yield from path_findings(contents)
        if self.rules & _OF_PERMISSIONS:
            with merged_tree(image.layers, verified=not self.rules & _OF_CONTENTS) as tree:
                yield from permission_findings(self.policy, tree)

    def _licenses(self, bills: Iterable[Bill]) -> Iterator[Finding]:
        from nixdock.policy.licenses import license_findings

        for bill in bills:
            yield from license_findings(self.policy, bill)

    def _report(
        self,
        origin: str,
        findings: Sequence[Finding],
        bills: Sequence[Bill],
        platforms: Sequence[str] = (),
    ) -> PolicyReport:
        from nixdock.policy.licenses import unlicensed_count

        unlicensed = sum(map(unlicensed_count, bills)) if bills else None
        reasons = [bill.base.unread for bill in bills if bill.base is not None]
        unexamined = "; ".join(dict.fromkeys(filter(None, reasons))) or None
        rules = [*self.policy.rules()]
        return PolicyReport.of(origin, rules, findings, unlicensed, unexamined, platforms)
