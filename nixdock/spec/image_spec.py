"""The image spec: a versioned JSON document that describes an image to be built."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from nixdock.nix.store_path import DEFAULT_STORE_DIR
from nixdock.oci.descriptor import Platform
from nixdock.oci.reference import Reference
from nixdock.spec.closure_spec import ClosureSpec, StorePathSpec
from nixdock.spec.layering_spec import HistorySpec, LayeringSpec
from nixdock.spec.provenance_spec import ProvenanceSpec
from nixdock.spec.times import LATEST

__all__ = [
    "FromImageSpec",
    "Id",
    "ImageSpec",
    "OwnerSpec",
    "PermissionSpec",
    "StoreSpec",
]

Id = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 2)]


class StoreSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The location of the store, and the owner and time of its files in the image."""

    directory: Annotated[str, msgspec.Meta(pattern="^/.+[^/]$")] = DEFAULT_STORE_DIR
    root: Annotated[
        str,
        msgspec.Meta(description="Directory below which the store lies, if it is not at `/`."),
    ] = ""
    mtime: Annotated[
        str, msgspec.Meta(description="Modification time of the files: ISO 8601, @SECONDS or now.")
    ] = "@1"
    uid: Id = 0
    gid: Id = 0
    uname: str = "root"
    gname: str = "root"


class FromImageSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The base image."""

    path: Annotated[
        str,
        msgspec.Meta(
            description="A docker-archive, OCI archive or OCI layout, compressed or not; or"
            " docker://HOST/NAME:TAG in a registry."
        ),
    ]
    name: Annotated[
        str | None,
        msgspec.Meta(
            description="Name of the image, if the file has several; by default the first."
        ),
    ] = None
    tag: str | None = None
    reference: Annotated[
        str | None,
        msgspec.Meta(
            description="Where the image in a file comes from, as HOST/NAME[:TAG][@DIGEST], for"
            " annotations."
        ),
    ] = None


class PermissionSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Overrides the owner, mode and capabilities of matching files."""

    path: Annotated[str, msgspec.Meta(pattern="^/")] | None = None
    regex: Annotated[
        str | None,
        msgspec.Meta(
            description="Regex that must match the whole name, at or below `path` if set."
        ),
    ] = None
    mode: Annotated[str, msgspec.Meta(pattern="^[0-7]{1,4}$")] | None = None
    uid: Id | None = None
    gid: Id | None = None
    uname: str | None = None
    gname: str | None = None
    capabilities: Annotated[
        list[str], msgspec.Meta(description="Capabilities, such as cap_net_raw=ep.")
    ] = []
    optional: Annotated[
        bool, msgspec.Meta(description="Accept that no file of the new layers matches.")
    ] = False


class OwnerSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The owner of files."""

    uid: Id = 0
    gid: Id = 0


class ImageSpec(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True
):
    """An image to be built."""

    version: Literal[1]
    name: Annotated[str, msgspec.Meta(description="[HOST[:PORT]/]NAME; converted to lower case.")]
    tag: str = "latest"
    extra_tags: Annotated[
        list[str], msgspec.Meta(description="More names of the image: TAG or NAME:TAG.")
    ] = []
    architecture: Annotated[str, msgspec.Meta(description="Architecture, as in Go's GOARCH.")] = (
        "amd64"
    )
    variant: str | None = None
    created: Annotated[
        str | None,
        msgspec.Meta(description="ISO 8601, @SECONDS or now; `source_date_epoch` if null."),
    ] = None
    source_date_epoch: Annotated[
        Annotated[int, msgspec.Meta(ge=0, le=LATEST)] | None,
        msgspec.Meta(
            description="Time of files that the build creates; SOURCE_DATE_EPOCH if null."
        ),
    ] = None
    config: Annotated[
        dict[str, Any], msgspec.Meta(description="How to run the image: the image-spec's config.")
    ] = {}
    labels: Annotated[
        dict[str, str], msgspec.Meta(description="Labels, besides those of `config`.")
    ] = {}
    annotations: Annotated[
        dict[str, str], msgspec.Meta(description="Annotations of the image's manifest.")
    ] = {}
    layer_annotations: Annotated[
        dict[str, str],
        msgspec.Meta(description="Annotations of each new layer in the manifest."),
    ] = {}
    default_annotations: Annotated[
        bool,
        msgspec.Meta(description="Add the image-spec's annotations as far as they are known."),
    ] = True
    closure: ClosureSpec | None = None
    store_layers: Annotated[
        list[list[str]] | None,
        msgspec.Meta(description="Plan of a resolved spec, bottom to top; replaces `closure`."),
    ] = None
    store_paths: Annotated[
        dict[str, StorePathSpec],
        msgspec.Meta(description="Metadata of the paths in `store_layers`."),
    ] = {}
    history: Annotated[
        HistorySpec | None,
        msgspec.Meta(
            description="History of the plan in `store_layers`, which the image then remembers."
        ),
    ] = None
    max_layers: Annotated[
        int, msgspec.Meta(ge=1, description="Most layers of the image; the top layer counts.")
    ] = 100
    layering: LayeringSpec = LayeringSpec()
    store: StoreSpec = StoreSpec()
    contents: Annotated[
        list[str], msgspec.Meta(description="Trees to merge at `/`, as symlinks.")
    ] = []
    copy_contents: Annotated[
        bool, msgspec.Meta(description="Copy the trees' files instead of linking to them.")
    ] = False
    keep_directory_links: Annotated[
        bool,
        msgspec.Meta(
            description="Copy symlinks to directories as symlinks, and follow existing ones."
        ),
    ] = False
    extra_commands: Annotated[
        str, msgspec.Meta(description="Script to run in the merged tree.")
    ] = ""
    fake_root_commands: Annotated[
        str, msgspec.Meta(description="Script to run there afterwards, under fakeroot.")
    ] = ""
    enable_fakechroot: Annotated[
        bool, msgspec.Meta(description="Run it with the tree, on top of the base image, as `/`.")
    ] = False
    run_as_root: Annotated[
        str,
        msgspec.Meta(
            description="Script to run first, with the tree, on top of the base image, as `/`."
        ),
    ] = ""
    owner: Annotated[
        OwnerSpec, msgspec.Meta(description="Owner of the files in the top layer.")
    ] = OwnerSpec()
    perms: Annotated[
        list[PermissionSpec],
        msgspec.Meta(description="Owners, modes and capabilities of files; later rules win."),
    ] = []
    single_layer: Annotated[
        bool, msgspec.Meta(description="Put all store paths into the top layer.")
    ] = False
    nix_db: Annotated[
        bool,
        msgspec.Meta(description="Add the Nix database of all store paths, which scripts find."),
    ] = False
    top_layer: Annotated[
        str | None,
        msgspec.Meta(
            description="Output of `nixdock top-layer`; replaces `contents` and the scripts."
        ),
    ] = None
    from_image: FromImageSpec | None = None
    provenance: ProvenanceSpec | None = None
    inherit_config: Annotated[
        Literal["env", "all"],
        msgspec.Meta(
            description="Inherit the environment, or all keys, of the base image's config."
        ),
    ] = "env"

    @property
    def planned_closure(self) -> ClosureSpec | None:
        """The closure that is to be planned, or None if it is planned already, or there is none."""
        return None if self.store_layers is not None else self.closure

    @property
    def has_scripts(self) -> bool:
        """Whether a script makes a part of the top layer."""
        scripts = (self.run_as_root, self.extra_commands, self.fake_root_commands)
        return any(script.strip() for script in scripts)

    @property
    def references(self) -> tuple[Reference, ...]:
        """The names with their tags, each once; raise InputError if one is not valid."""
        first = Reference.of(self.name, self.tag)
        others = (Reference.tagged(self.name, text) for text in self.extra_tags)
        return tuple(dict.fromkeys([first, *others]))

    @property
    def platform(self) -> Platform:
        """The platform of the image."""
        return Platform(self.architecture, "linux", self.variant)
