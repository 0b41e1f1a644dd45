"""What a policy is checked on: a closure, the image of a spec, or images that exist."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from nixdock.errors import InputError
from nixdock.policy.findings import Finding, PolicyReport
from nixdock.policy.policy import Policy, Rule

if TYPE_CHECKING:
    from nixdock.diff.side import Side
    from nixdock.face.describing import Describing
    from nixdock.layers.progress import Progress
    from nixdock.nix.closure import Closure
    from nixdock.oci.descriptor import Platform
    from nixdock.oci.location import Location
    from nixdock.read.stored import StoredImage
    from nixdock.registry.access import Access
    from nixdock.sbom.bill import Bill
    from nixdock.spec.image_spec import ImageSpec

__all__ = ["PolicyCheck"]

_OF_SIZES: Final = frozenset({Rule.MAX_SIZE, Rule.MAX_LAYERS, Rule.MAX_LAYER, Rule.MAX_UPDATE})
_OF_LICENSES: Final = frozenset({Rule.DENY_LICENSE, Rule.DENY_UNKNOWN_LICENSE})
_OF_CONTENTS: Final = frozenset({Rule.MAX_UNCOMPRESSED, Rule.DENY_PATH})
_OF_PERMISSIONS: Final = frozenset({Rule.DENY_SETUID, Rule.DENY_WORLD_WRITABLE})
_OF_CLOSURES: Final = _OF_LICENSES | _OF_CONTENTS


class PolicyCheck(Struct, frozen=True):
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
        """Check a closure; `origin` is what errors and the report call it."""
        from nixdock.face.materials import list_packages
        from nixdock.face.specs import check_no_platform

        check_no_platform(self._wanted())
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
        """Check the image of a spec."""
        from nixdock.face.building import build_image
        from nixdock.face.describing import Describing
        from nixdock.face.materials import list_packages
        from nixdock.face.specs import check_platform
        from nixdock.oci.layout import Format
        from nixdock.oci.location import FileLocation
        from nixdock.read.selection import select_image
        from nixdock.registry.opening import open_location
        from nixdock.spec.chosen_stores import with_stores
        from nixdock.system.scratch import temporary_directory

        check_platform(spec, self._wanted())
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
                    findings += self._files(select_image(file.without_path()), is_local=True)
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
        """Check the image at a location, or all images of an index."""
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
                several = is_of_several(file, image)
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
