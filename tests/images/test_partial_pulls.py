"""Updates of real closures, whose layers Podman fetches in part."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path

import pytest

import nixdock
from nixdock import Compression, Pushing

from ..runtime.engine import podman_storage
from ..runtime.registry import local_registry
from ..runtime.test_partial_pulls import BOTH, mounted, version_of
from .conftest import Library

pytestmark = [pytest.mark.nix, pytest.mark.runtime, pytest.mark.xdist_group("partial")]

# A package that is built anew for another reason has another store path: all of its files have
# other names, but only those that have the store path in them have other bytes.
PACKAGE = 'pkgs.python3.overrideAttrs (_: { rebuiltFor = "%s"; })'
IMAGE = """nixdock.streamLayeredImage {
  name = "python";
  config.Cmd = [ "${%s}/bin/python3" "-c" "import json; print(json.dumps([1]))" ];
}"""


def files_of(paths: Iterable[Path]) -> Mapping[bytes, int]:
    """Return the sizes of all files in store paths, by their digests."""
    files = (file for path in paths for file in path.rglob("*") if file.is_file())
    contents = (file.read_bytes() for file in files if not file.is_symlink())
    return {sha256(data).digest(): len(data) for data in contents}


@pytest.mark.parametrize("compression", BOTH, ids=str)
def test_podman_fetches_what_a_rebuild_changed(library: Library, compression: Compression) -> None:
    with podman_storage({"enable_partial_images": "true"}) as podman, local_registry() as server:
        in_part = (version_of(podman) >= 5) == (compression == Compression.ZSTD_CHUNKED)
        there: set[bytes] = set()
        for reason in ("one", "two"):
            package = f"({PACKAGE % reason})"
            spec = nixdock.read_spec(library.build(f"({IMAGE % package}).conf"))
            path = library.build(package)
            files = files_of(library.nix.closure(path) if reason == "one" else [path])
            changed = sum(size for digest, size in files.items() if digest not in there)
            there |= files.keys()

            name = server.reference("python", reason)
            pushed = nixdock.push_image(spec, [name], Pushing(compression, use_cache=False))
            new = {each.digest: each.size for each in pushed.layers if each.outcome == "uploaded"}
            before = len(server.downloads("python"))
            image = podman.pull(name)
            parts = server.downloads("python")[before:]
            fetched = sum(size for digest, size in parts if digest in new)

            assert podman.run(image).stdout == "[1]\n"
            with mounted(podman, image) as root:
                assert files_of([Path(f"{root}{path}")]) == files_of([path])
        # The layer of the package is the only new one.
        assert len(new) == 1
        assert changed < sum(files.values()) * 0.7
        expected = sum(new.values()) * changed / sum(files.values())
        if in_part:
            assert fetched == pytest.approx(expected, rel=0.1)
        else:
            assert fetched >= sum(new.values())
