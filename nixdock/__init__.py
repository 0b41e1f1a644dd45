"""Turn Nix closures into container images.

The names in `__all__` are the public interface; everything else may change in any release. ::

    import nixdock

    spec = nixdock.read_spec("hello.json")
    image = nixdock.build_image(spec, "hello.tar")
    print(image.manifest.digest)

Importing nixdock is fast: each function and type is loaded when it is first used (PEP 562). Every
error that nixdock reports is a `NixdockError`.
"""

from __future__ import annotations

import importlib

from nixdock.errors import (
    CacheError,
    ClosureError,
    ImageError,
    InputError,
    LayeringError,
    MissingPathsError,
    NixdockError,
    OutputError,
    PackError,
    PlanError,
    RegistryError,
    RemoteError,
    ScriptError,
    SignatureError,
    SpecError,
    StoreError,
    ToolError,
)

# As the constant of `typing`, which is slow to load: Ctrl-C would meanwhile show a traceback.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any, Final

    from nixdock.attach.subject import Attached, Referrer
    from nixdock.build.resolve import Resolution
    from nixdock.diff.result import Diff
    from nixdock.face.attaching import (
        attach_artifact,
        attach_sbom,
        list_referrers,
        read_referrer,
    )
    from nixdock.face.budgets import check_diff
    from nixdock.face.build_attachments import Attaching
    from nixdock.face.building import (
        build_image,
        image_digests,
        pack_top_layer,
        remember_layers,
        stream_image,
    )
    from nixdock.face.checking import check_policy, sarif_json
    from nixdock.face.closures import (
        parse_closure,
        query_closure,
        read_closure,
        registration_text,
        write_database,
    )
    from nixdock.face.comparing import diff_images
    from nixdock.face.describing import Describing
    from nixdock.face.images import (
        export_image,
        inspect_image,
        merge_images,
        prefetch_image,
        tarsum,
        verify_image,
    )
    from nixdock.face.indexes import build_index, push_index
    from nixdock.face.layer_files import layer_files
    from nixdock.face.materials import list_packages, sbom_json
    from nixdock.face.plans import (
        compare_plans,
        explain_path,
        plan_document,
        plan_family,
        plan_layers,
        read_previous,
    )
    from nixdock.face.pushing import push_image
    from nixdock.face.registries import login_registry, logout_registry
    from nixdock.face.running import load_image, serve_images
    from nixdock.face.signing import attest_image, generate_key_pair, sign_image
    from nixdock.face.specs import read_spec, realise_closure, resolve_spec, spec_json
    from nixdock.face.transfers import copy_image, list_tags, pull_image
    from nixdock.face.verifying import verify_attestation, verify_signature
    from nixdock.face.viewing import (
        view_diff,
        view_image,
        view_images,
        view_plan,
        view_update,
    )
    from nixdock.index.indexing import Indexing
    from nixdock.index.result import ImageIndex, IndexedImage
    from nixdock.layering.comparison import Comparison
    from nixdock.layering.explain import Explanation
    from nixdock.layering.options import Group, LayeringOptions
    from nixdock.layering.plan import LayerPlan
    from nixdock.layering.plan_history import PreviousPlan
    from nixdock.layering.strategies import Layering
    from nixdock.layers.compression import Compression
    from nixdock.layers.progress import Progress
    from nixdock.nix.closure import Closure, PathInfo
    from nixdock.nix.hashes import Hash
    from nixdock.nix.store_path import StorePath
    from nixdock.oci.image import Image
    from nixdock.oci.layer_blob import LayerBlob
    from nixdock.oci.layout import Format
    from nixdock.oci.location import FileLocation
    from nixdock.oci.registry_reference import RegistryReference
    from nixdock.policy.findings import Finding, PolicyReport
    from nixdock.policy.policy import Policy
    from nixdock.read.report import FileReport
    from nixdock.read.verify import Verification
    from nixdock.registry.access import Access
    from nixdock.registry.credentials import Credentials
    from nixdock.registry.prefetch import Prefetched, Remote
    from nixdock.rootfs.confinement import Confinement
    from nixdock.runtime.listening import Listening
    from nixdock.runtime.loading import Loaded, LoadedLayer
    from nixdock.runtime.serving import Serving
    from nixdock.sbom.bill import Bill
    from nixdock.signing.signed_image import SignedImage
    from nixdock.spec.image_spec import ImageSpec
    from nixdock.transfer.copy_image import Copied
    from nixdock.transfer.push import Pushing
    from nixdock.transfer.pushed import PushedImage, PushedLayer
    from nixdock.view.document import parse_update, parse_view, view_document
    from nixdock.view.model import FileView, ImageView
    from nixdock.view.update import UpdateView

__all__ = [
    "Access",
    "Attached",
    "Attaching",
    "Bill",
    "CacheError",
    "Closure",
    "ClosureError",
    "Comparison",
    "Compression",
    "Confinement",
    "Copied",
    "Credentials",
    "Describing",
    "Diff",
    "Explanation",
    "FileLocation",
    "FileReport",
    "FileView",
    "Finding",
    "Format",
    "Group",
    "Hash",
    "Image",
    "ImageError",
    "ImageIndex",
    "ImageSpec",
    "ImageView",
    "IndexedImage",
    "Indexing",
    "InputError",
    "LayerBlob",
    "LayerPlan",
    "Layering",
    "LayeringError",
    "LayeringOptions",
    "Listening",
    "Loaded",
    "LoadedLayer",
    "MissingPathsError",
    "NixdockError",
    "OutputError",
    "PackError",
    "PathInfo",
    "PlanError",
    "Policy",
    "PolicyReport",
    "Prefetched",
    "PreviousPlan",
    "Progress",
    "PushedImage",
    "PushedLayer",
    "Pushing",
    "Referrer",
    "RegistryError",
    "RegistryReference",
    "Remote",
    "RemoteError",
    "Resolution",
    "ScriptError",
    "Serving",
    "SignatureError",
    "SignedImage",
    "SpecError",
    "StoreError",
    "StorePath",
    "ToolError",
    "UpdateView",
    "Verification",
    "attach_artifact",
    "attach_sbom",
    "attest_image",
    "build_image",
    "build_index",
    "check_diff",
    "check_policy",
    "compare_plans",
    "copy_image",
    "diff_images",
    "explain_path",
    "export_image",
    "generate_key_pair",
    "image_digests",
    "inspect_image",
    "layer_files",
    "list_packages",
    "list_referrers",
    "list_tags",
    "load_image",
    "login_registry",
    "logout_registry",
    "merge_images",
    "pack_top_layer",
    "parse_closure",
    "parse_update",
    "parse_view",
    "plan_document",
    "plan_family",
    "plan_layers",
    "prefetch_image",
    "pull_image",
    "push_image",
    "push_index",
    "query_closure",
    "read_closure",
    "read_previous",
    "read_referrer",
    "read_spec",
    "realise_closure",
    "registration_text",
    "remember_layers",
    "resolve_spec",
    "sarif_json",
    "sbom_json",
    "serve_images",
    "sign_image",
    "spec_json",
    "stream_image",
    "tarsum",
    "verify_attestation",
    "verify_image",
    "verify_signature",
    "view_diff",
    "view_document",
    "view_image",
    "view_images",
    "view_plan",
    "view_update",
    "write_database",
]

# The module of each name that is loaded when it is first used.
_MODULES: Final = {
    "Access": "nixdock.registry.access",
    "Attached": "nixdock.attach.subject",
    "Attaching": "nixdock.face.build_attachments",
    "Bill": "nixdock.sbom.bill",
    "Closure": "nixdock.nix.closure",
    "Comparison": "nixdock.layering.comparison",
    "Compression": "nixdock.layers.compression",
    "Confinement": "nixdock.rootfs.confinement",
    "Copied": "nixdock.transfer.copy_image",
    "Credentials": "nixdock.registry.credentials",
    "Describing": "nixdock.face.describing",
    "Diff": "nixdock.diff.result",
    "Explanation": "nixdock.layering.explain",
    "FileLocation": "nixdock.oci.location",
    "FileReport": "nixdock.read.report",
    "FileView": "nixdock.view.model",
    "Finding": "nixdock.policy.findings",
    "Format": "nixdock.oci.layout",
    "Group": "nixdock.layering.options",
    "Hash": "nixdock.nix.hashes",
    "Image": "nixdock.oci.image",
    "ImageIndex": "nixdock.index.result",
    "ImageSpec": "nixdock.spec.image_spec",
    "ImageView": "nixdock.view.model",
    "IndexedImage": "nixdock.index.result",
    "Indexing": "nixdock.index.indexing",
    "LayerBlob": "nixdock.oci.layer_blob",
    "LayerPlan": "nixdock.layering.plan",
    "Layering": "nixdock.layering.strategies",
    "LayeringOptions": "nixdock.layering.options",
    "Listening": "nixdock.runtime.listening",
    "Loaded": "nixdock.runtime.loading",
    "LoadedLayer": "nixdock.runtime.loading",
    "PathInfo": "nixdock.nix.closure",
    "Policy": "nixdock.policy.policy",
    "PolicyReport": "nixdock.policy.findings",
    "Prefetched": "nixdock.registry.prefetch",
    "PreviousPlan": "nixdock.layering.plan_history",
    "Progress": "nixdock.layers.progress",
    "PushedImage": "nixdock.transfer.pushed",
    "PushedLayer": "nixdock.transfer.pushed",
    "Pushing": "nixdock.transfer.push",
    "Referrer": "nixdock.attach.subject",
    "RegistryReference": "nixdock.oci.registry_reference",
    "Remote": "nixdock.registry.prefetch",
    "Resolution": "nixdock.build.resolve",
    "Serving": "nixdock.runtime.serving",
    "SignedImage": "nixdock.signing.signed_image",
    "StorePath": "nixdock.nix.store_path",
    "UpdateView": "nixdock.view.update",
    "Verification": "nixdock.read.verify",
    "attach_artifact": "nixdock.face.attaching",
    "attach_sbom": "nixdock.face.attaching",
    "attest_image": "nixdock.face.signing",
    "build_image": "nixdock.face.building",
    "build_index": "nixdock.face.indexes",
    "check_diff": "nixdock.face.budgets",
    "check_policy": "nixdock.face.checking",
    "compare_plans": "nixdock.face.plans",
    "copy_image": "nixdock.face.transfers",
    "diff_images": "nixdock.face.comparing",
    "explain_path": "nixdock.face.plans",
    "export_image": "nixdock.face.images",
    "generate_key_pair": "nixdock.face.signing",
    "image_digests": "nixdock.face.building",
    "inspect_image": "nixdock.face.images",
    "layer_files": "nixdock.face.layer_files",
    "list_packages": "nixdock.face.materials",
    "list_referrers": "nixdock.face.attaching",
    "list_tags": "nixdock.face.transfers",
    "load_image": "nixdock.face.running",
    "login_registry": "nixdock.face.registries",
    "logout_registry": "nixdock.face.registries",
    "merge_images": "nixdock.face.images",
    "pack_top_layer": "nixdock.face.building",
    "parse_closure": "nixdock.face.closures",
    "parse_update": "nixdock.view.document",
    "parse_view": "nixdock.view.document",
    "plan_document": "nixdock.face.plans",
    "plan_family": "nixdock.face.plans",
    "plan_layers": "nixdock.face.plans",
    "prefetch_image": "nixdock.face.images",
    "pull_image": "nixdock.face.transfers",
    "push_image": "nixdock.face.pushing",
    "push_index": "nixdock.face.indexes",
    "query_closure": "nixdock.face.closures",
    "read_closure": "nixdock.face.closures",
    "read_previous": "nixdock.face.plans",
    "read_referrer": "nixdock.face.attaching",
    "read_spec": "nixdock.face.specs",
    "realise_closure": "nixdock.face.specs",
    "registration_text": "nixdock.face.closures",
    "remember_layers": "nixdock.face.building",
    "resolve_spec": "nixdock.face.specs",
    "sarif_json": "nixdock.face.checking",
    "sbom_json": "nixdock.face.materials",
    "serve_images": "nixdock.face.running",
    "sign_image": "nixdock.face.signing",
    "spec_json": "nixdock.face.specs",
    "stream_image": "nixdock.face.building",
    "tarsum": "nixdock.face.images",
    "verify_attestation": "nixdock.face.verifying",
    "verify_image": "nixdock.face.images",
    "verify_signature": "nixdock.face.verifying",
    "view_diff": "nixdock.face.viewing",
    "view_document": "nixdock.view.document",
    "view_image": "nixdock.face.viewing",
    "view_images": "nixdock.face.viewing",
    "view_plan": "nixdock.face.viewing",
    "view_update": "nixdock.face.viewing",
    "write_database": "nixdock.face.closures",
}


# Type checkers would take every name for one that exists.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Load a name of the public interface when it is first used (PEP 562)."""
        if name not in _MODULES:
            raise AttributeError(f"module 'nixdock' has no attribute {name!r}")
        value = getattr(importlib.import_module(_MODULES[name]), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return __all__
