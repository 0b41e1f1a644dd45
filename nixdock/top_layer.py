"""The top layer: trees joined at `/`, and what the image's own scripts make of them."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from nixdock.atomic import whole_directory
from nixdock.base_image import BaseImage
from nixdock.digest import check_digest, hex_of
from nixdock.errors import NixdockError, SpecError
from nixdock.joining import copy, join
from nixdock.layer import OWN_FILES_HISTORY, LayerSource, TarLayer, TreeLayer
from nixdock.pack import pack
from nixdock.source.tree import merged_tree
from nixdock.spec import ImageSpec, permission_rules
from nixdock.tar_header import MemberMeta
from nixdock.underlay import Underlay

__all__ = ["packed", "prepared_tree", "read_top_layer", "run_script", "write_top_layer"]

_TAR: Final = "layer.tar"
_CHECKSUM: Final = "checksum"

# In a Nix build the script may use what the builder's setup defines, as dockerTools lets it.
_SHELL_PRELUDE: Final = """
if [ -e "${NIX_ATTRS_SH_FILE:-}" ]; then . "$NIX_ATTRS_SH_FILE"; fi
if [ -e "${stdenv:-}/setup" ]; then . "$stdenv/setup"; fi
set -e
. "$1"
"""


def run_script(script: str, directory: Path) -> None:
    """Run `script` with bash in `directory`; raise NixdockError when it fails."""
    shell = shutil.which("bash") or shutil.which("sh")
    if shell is None:
        raise NixdockError("extra_commands need a shell, but neither bash nor sh is in PATH")
    with tempfile.TemporaryDirectory(prefix="nixdock-") as temporary:
        file = Path(temporary) / "extra-commands"
        file.write_text(script, encoding="utf-8")
        # Standard output may be the image.
        result = subprocess.run(
            [shell, "-c", _SHELL_PRELUDE, "extra_commands", str(file)],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=2,
            umask=0o022,
            check=False,
        )
    if result.returncode:
        raise NixdockError(f"extra_commands failed with exit status {result.returncode}")


@contextmanager
def prepared_tree(spec: ImageSpec, base: BaseImage | None, mtime: int) -> Iterator[LayerSource]:
    """Give the source of a top layer on top of `base`; its tree lasts as long as the block."""
    owner = spec.owner
    names = ("root" if owner.uid == 0 else "", "root" if owner.gid == 0 else "")
    meta = MemberMeta(mtime, owner.uid, owner.gid, *names)
    with ExitStack() as stack:
        temporary = stack.enter_context(tempfile.TemporaryDirectory(prefix="nixdock-"))
        underlay = Underlay()
        if base is not None:
            underlay = Underlay(stack.enter_context(merged_tree(base.layers, verified=False)))
        tree = Path(temporary) / "root"
        tree.mkdir()
        _put_contents(spec, tree, underlay)
        if spec.extra_commands.strip():
            links = underlay.put_links(tree)
            run_script(spec.extra_commands, tree)
            underlay.take_links(tree, links)
        yield TreeLayer(
            tree, meta, perms=permission_rules(spec), directories=underlay.directories(tree)
        )


def _put_contents(spec: ImageSpec, tree: Path, underlay: Underlay) -> None:
    if spec.copy_contents:
        keep = spec.keep_directory_links
        copy(spec.contents, tree, spec.store.root, underlay, keep_directory_links=keep)
    else:
        join(spec.contents, tree, spec.store.root, underlay)


@contextmanager
def packed(source: LayerSource) -> Iterator[TarLayer]:
    """Give `source` as a tar that is packed already, in a file that lasts as long as the block."""
    with tempfile.TemporaryDirectory(prefix="nixdock-") as temporary:
        file = Path(temporary) / _TAR
        yield TarLayer(file, pack(source, file).diff_id, source.history)


def write_top_layer(source: LayerSource, target: Path) -> None:
    """Pack `source` into the directory `target`, for `read_top_layer`."""
    with whole_directory(target, _CHECKSUM) as directory:
        layer = pack(source, directory / _TAR)
        (directory / _CHECKSUM).write_text(f"{hex_of(layer.diff_id)}\n")


def read_top_layer(directory: Path) -> TarLayer:
    """Return the layer that was packed into `directory`; raise SpecError."""
    try:
        checksum = (directory / _CHECKSUM).read_text(encoding="ascii", errors="replace")
        digest = check_digest(f"sha256:{checksum.strip()}")
    except (OSError, NixdockError) as error:
        raise SpecError(
            f"{directory} is not a top layer with {_TAR} and {_CHECKSUM}: {error}"
        ) from None
    return TarLayer(directory / _TAR, digest, OWN_FILES_HISTORY)
