"""What a spec tells about the provenance of its image."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import quote

import msgspec

from nixdock.nix.closure import PathInfo
from nixdock.provenance.statement import Material
from nixdock.spec.image_spec import ImageSpec
from nixdock.spec.paths import is_in_store
from nixdock.spec.provenance_spec import ProvenanceSpec

__all__ = ["flake_material", "spec_parameters", "store_materials"]

# Files of one machine, or what follows from them: they are among the materials.
_NOT_PARAMETERS: Final = frozenset(
    {
        "closure",
        "from_image",
        "history",
        "layering",
        "provenance",
        "source_date_epoch",
        "store",
        "store_layers",
        "store_paths",
        "top_layer",
        "version",
    }
)
_COMMIT: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}", re.ASCII)


def spec_parameters(spec: ImageSpec) -> dict[str, Any]:
    """Return the keys of a spec that say what the image is to be, without default values."""
    document: dict[str, Any] = msgspec.to_builtins(spec)
    # Other trees are files of this machine, too.
    store_dir = spec.store.directory
    contents = [each for each in document.pop("contents", []) if is_in_store(each, store_dir)]
    parameters = {key: value for key, value in document.items() if key not in _NOT_PARAMETERS}
    return parameters | ({"contents": contents} if contents else {})


def flake_material(known: ProvenanceSpec) -> Material | None:
    """Return the flake from which the image comes, if that is known."""
    if known.flake is None and known.revision is None:
        return None
    revision = known.revision or ""
    is_commit = _COMMIT.fullmatch(revision) is not None
    return Material(
        name="flake",
        uri=known.flake,
        digest={"gitCommit": revision} if is_commit else {},
        # With changes that nobody has committed, for example.
        annotations={"revision": revision} if revision and not is_commit else {},
    )


def store_materials(infos: Iterable[PathInfo]) -> list[Material]:
    """Return the store paths in an image, by their paths, with hashes and derivers if known."""
    materials = []
    for info in sorted(infos, key=lambda each: str(each.path)):
        known = {} if info.nar_hash is None else {"narHash": info.nar_hash.sri}
        deriver = {} if info.deriver is None else {"deriver": str(info.deriver)}
        materials.append(
            Material(name=info.path.name, uri=_file_uri(info), annotations={**known, **deriver})
        )
    return materials


def _file_uri(info: PathInfo) -> str:
    """Return the URI of a store path, whose name may have a question mark, as of a download."""
    return f"file://{quote(str(info.path), safe='/+=')}"
