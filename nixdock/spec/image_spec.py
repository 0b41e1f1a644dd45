"""The image spec: the versioned JSON that names everything about an image to be built."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec

from nixdock.nix.hashes import Hash
from nixdock.nix.store_path import DEFAULT_STORE_DIR
from nixdock.oci.reference import Reference
from nixdock.spec.times import LATEST
from nixdock.tar.permissions import PermissionRule

__all__ = [
    "SCHEMA_ID",
    "ClosureSpec",
    "FromImageSpec",
    "Id",
    "ImageSpec",
    "LayeringSpec",
    "OwnerSpec",
    "PermissionSpec",
    "StorePathSpec",
    "StoreSpec",
    "known_nar_hash",
    "permission_rules",
    "spec_schema",
]

SCHEMA_ID: Final = "https://nixdock.dev/schema/image-spec-1.json"

Id = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 2)]


class ClosureSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The store paths that the image is to hold, as a reference graph."""

    graph: Annotated[
        str, msgspec.Meta(description="File with the graph, in any form that Nix exports.")
    ]
    keys: Annotated[
        list[str], msgspec.Meta(description="Keys of the graphs in a structured-attrs file; all.")
    ] = []
    exclude: Annotated[
        list[str], msgspec.Meta(description="Store paths that stay out of the image.")
    ] = []


class StorePathSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is known of one store path before it is read."""

    nar_size: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] = 0
    nar_hash: str | None = None
    references: Annotated[
        list[str] | None, msgspec.Meta(description="Known where a database is to be made of them.")
    ] = None
    deriver: str | None = None


class StoreSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where the store is, and what its files look like in the image."""

    directory: Annotated[str, msgspec.Meta(pattern="^/.+[^/]$")] = DEFAULT_STORE_DIR
    root: Annotated[
        str,
        msgspec.Meta(description="Directory below which the store lies, if not at its own place."),
    ] = ""
    mtime: Annotated[
        str, msgspec.Meta(description="Time of the store's files: ISO 8601, @SECONDS or now.")
    ] = "@1"
    uid: Id = 0
    gid: Id = 0
    uname: str = "root"
    gname: str = "root"


class FromImageSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The image that is built upon."""

    path: Annotated[
        str,
        msgspec.Meta(description="A docker-archive, OCI archive or OCI layout, compressed or not."),
    ]
    name: Annotated[
        str | None, msgspec.Meta(description="Which image, if it holds several; the first.")
    ] = None
    tag: str | None = None


class PermissionSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What some files have in the image instead of what their layer gives them."""

    path: Annotated[str, msgspec.Meta(pattern="^/")] | None = None
    regex: Annotated[
        str | None,
        msgspec.Meta(description="For all whose whole name matches, at and below `path` if given."),
    ] = None
    mode: Annotated[str, msgspec.Meta(pattern="^[0-7]{1,4}$")] | None = None
    uid: Id | None = None
    gid: Id | None = None
    uname: str | None = None
    gname: str | None = None
    capabilities: Annotated[list[str], msgspec.Meta(description="Such as cap_net_raw=ep.")] = []


class OwnerSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Whom files belong to."""

    uid: Id = 0
    gid: Id = 0


class LayeringSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which store paths share a layer."""

    strategy: Literal["auto", "explicit", "pipeline", "popularity", "stable"] = "stable"
    volatile: Annotated[
        list[str], msgspec.Meta(description="Store paths that are known to change often.")
    ] = []
    previous: Annotated[
        str | None,
        msgspec.Meta(description="The image that this one replaces, or its plan, for `stable`."),
    ] = None
    groups: Annotated[
        list[Any],
        msgspec.Meta(
            description="For `explicit`: lists of store paths, or objects with paths or closure_of."
        ),
    ] = []
    plan: Annotated[
        str | None, msgspec.Meta(description="For `explicit`: a plan file whose layers are groups.")
    ] = None
    rest: Annotated[
        Literal["auto", "popularity", "stable"],
        msgspec.Meta(description="For `explicit`: the strategy for what the groups leave."),
    ] = "stable"
    pipeline: Annotated[
        list[Any] | str | None,
        msgspec.Meta(description="For `pipeline`: dockerTools' layeringPipeline, or its file."),
    ] = None
    label: Annotated[
        bool, msgspec.Meta(description="Keep the plan in a label, for the image that comes next.")
    ] = True


class ImageSpec(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True
):
    """An image to be built."""

    version: Literal[1]
    name: Annotated[str, msgspec.Meta(description="[HOST[:PORT]/]NAME; lower-cased.")]
    tag: str = "latest"
    architecture: Annotated[str, msgspec.Meta(description="In Go's names.")] = "amd64"
    variant: str | None = None
    created: Annotated[
        str | None,
        msgspec.Meta(description="ISO 8601, @SECONDS or now; SOURCE_DATE_EPOCH when null."),
    ] = None
    source_date_epoch: Annotated[
        Annotated[int, msgspec.Meta(ge=0, le=LATEST)] | None,
        msgspec.Meta(description="Time of what the build makes; SOURCE_DATE_EPOCH if null."),
    ] = None
    config: Annotated[
        dict[str, Any], msgspec.Meta(description="How to run the image: image-spec's config.")
    ] = {}
    closure: ClosureSpec | None = None
    store_layers: Annotated[
        list[list[str]] | None,
        msgspec.Meta(description="A plan made before, bottom to top, in place of `closure`."),
    ] = None
    store_paths: Annotated[
        dict[str, StorePathSpec],
        msgspec.Meta(description="What is known of the paths in `store_layers`."),
    ] = {}
    max_layers: Annotated[
        int, msgspec.Meta(ge=1, description="Layers of the finished image, the top one counted.")
    ] = 100
    layering: LayeringSpec = LayeringSpec()
    store: StoreSpec = StoreSpec()
    contents: Annotated[
        list[str], msgspec.Meta(description="Trees that are joined, as links, at `/`.")
    ] = []
    copy_contents: Annotated[
        bool, msgspec.Meta(description="Copy the trees' files rather than link to them.")
    ] = False
    keep_directory_links: Annotated[
        bool,
        msgspec.Meta(description="Copy links to directories as links, and follow those in place."),
    ] = False
    extra_commands: Annotated[
        str, msgspec.Meta(description="Script that runs in the joined tree, as in `/`.")
    ] = ""
    fake_root_commands: Annotated[
        str, msgspec.Meta(description="Script that runs there after it, under fakeroot.")
    ] = ""
    enable_fakechroot: Annotated[
        bool, msgspec.Meta(description="Run it with the tree, on top of the base image, as `/`.")
    ] = False
    run_as_root: Annotated[
        str, msgspec.Meta(description="Script that runs, as in `/`, before extra_commands.")
    ] = ""
    owner: Annotated[OwnerSpec, msgspec.Meta(description="Of the image's own files.")] = OwnerSpec()
    perms: Annotated[
        list[PermissionSpec],
        msgspec.Meta(description="Owners, modes and capabilities; later rules win."),
    ] = []
    single_layer: Annotated[
        bool, msgspec.Meta(description="Put all store paths into the top layer.")
    ] = False
    nix_db: Annotated[
        bool,
        msgspec.Meta(description="Add a layer with the Nix database of all store paths."),
    ] = False
    top_layer: Annotated[
        str | None,
        msgspec.Meta(description="Output of `nixdock top-layer`, in place of `contents`."),
    ] = None
    from_image: FromImageSpec | None = None
    inherit_config: Annotated[
        Literal["env", "all"],
        msgspec.Meta(description="Take the environment, or all, from the base image's config."),
    ] = "env"

    @property
    def reference(self) -> Reference:
        """The name and tag, checked."""
        return Reference.of(self.name, self.tag)


def permission_rules(spec: ImageSpec) -> tuple[PermissionRule, ...]:
    """Return the spec's rules, as packing takes them."""
    return tuple(
        PermissionRule(
            path=rule.path,
            regex=rule.regex,
            mode=None if rule.mode is None else int(rule.mode, 8),
            uid=rule.uid,
            gid=rule.gid,
            uname=rule.uname,
            gname=rule.gname,
            capabilities=tuple(rule.capabilities),
        )
        for rule in spec.perms
    )


def spec_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of an image spec."""
    schema: dict[str, Any] = msgspec.json.schema(ImageSpec)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SCHEMA_ID, **schema}


def known_nar_hash(known: StorePathSpec | None) -> Hash | None:
    """Return the NAR hash of a store path, or None if it is not known."""
    return None if known is None or known.nar_hash is None else Hash.parse(known.nar_hash)
