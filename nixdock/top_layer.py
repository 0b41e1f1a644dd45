"""The top layer: trees joined at `/`, and what the image's own scripts make of them."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from nixdock.atomic import whole_directory
from nixdock.base_image import BaseImage
from nixdock.digest import check_digest, hex_of
from nixdock.errors import NixdockError, SpecError
from nixdock.joining import copy, join
from nixdock.layer import OWN_FILES_HISTORY, LayerSource, MemberLayer, TarLayer, TreeLayer
from nixdock.pack import pack
from nixdock.rootless.difference import Snapshot, difference
from nixdock.rootless.extract import extract
from nixdock.rootless.fakeroot import FakeFile, Inode
from nixdock.rootless.run import run_as_root
from nixdock.source.tree import merged_tree
from nixdock.spec import ImageSpec, permission_rules
from nixdock.tar_header import Attributes, Entry, MemberMeta
from nixdock.underlay import Underlay

__all__ = ["packed", "prepared_tree", "read_top_layer", "run_script", "write_top_layer"]

_TAR: Final = "layer.tar"
_CHECKSUM: Final = "checksum"
_PLAIN: Final = Attributes(0, 0, "root", "root")

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
        tree = Path(temporary) / "root"
        tree.mkdir()
        if spec.run_as_root.strip() or spec.fake_root_commands.strip():
            yield _made_as_root(spec, base, tree, meta, stack)
            return
        underlay = _underlay(base, stack, verified=False)
        _put_contents(spec, tree, underlay)
        _run_extra_commands(spec, tree, underlay)
        yield TreeLayer(
            tree, meta, perms=permission_rules(spec), directories=underlay.directories(tree)
        )


def _underlay(base: BaseImage | None, stack: ExitStack, *, verified: bool) -> Underlay:
    if base is None:
        return Underlay()
    return Underlay(stack.enter_context(merged_tree(base.layers, verified=verified)))


def _run_extra_commands(spec: ImageSpec, tree: Path, underlay: Underlay) -> None:
    if spec.extra_commands.strip():
        links = underlay.put_links(tree)
        run_script(spec.extra_commands, tree)
        underlay.take_links(tree, links)


def _made_as_root(
    spec: ImageSpec, base: BaseImage | None, tree: Path, meta: MemberMeta, stack: ExitStack
) -> LayerSource:
    """Return the source of a top layer of which scripts that run as if by root make a part."""
    chroot = bool(spec.run_as_root.strip()) or spec.enable_fakechroot
    underlay = _underlay(base, stack, verified=chroot)
    fakes: Mapping[Inode, FakeFile] = {}
    before = Snapshot()
    # A script that has the tree as its root finds the whole base image there.
    if chroot and base is not None:
        fakes = extract(underlay.tree, tree)
        before = Snapshot.of(tree, fakes)

    def run(script: str, what: str, *, chroot: bool) -> Mapping[Inode, FakeFile]:
        if not script.strip():
            return fakes
        directory = spec.store.directory
        return run_as_root(script, tree, what=what, chroot=chroot, store_dir=directory, fakes=fakes)

    _put_contents(spec, tree, underlay)
    fakes = run(spec.run_as_root, "run_as_root", chroot=True)
    if chroot:
        if spec.extra_commands.strip():
            run_script(spec.extra_commands, tree)
        fakes = run(spec.fake_root_commands, "fake_root_commands", chroot=spec.enable_fakechroot)
        directories: Mapping[bytes, tuple[int, Attributes]] = {}
    else:
        _run_extra_commands(spec, tree, underlay)
        links = underlay.put_links(tree)
        fakes = run(spec.fake_root_commands, "fake_root_commands", chroot=False)
        underlay.take_links(tree, links)
        directories = underlay.directories(tree)
    empty = tree.parent / "empty"
    empty.touch()
    members = difference(before, Snapshot.of(tree, fakes), empty)
    return MemberLayer(
        tuple(_as_below(entry, directories) for entry in members),
        meta,
        perms=permission_rules(spec),
    )


def _as_below(entry: Entry, directories: Mapping[bytes, tuple[int, Attributes]]) -> Entry:
    """Return a directory that no script has given an owner or mode as the base image has it."""
    if entry.name not in directories or entry.mode != 0o755 or entry.attributes != _PLAIN:
        return entry
    mode, attributes = directories[entry.name]
    return entry._replace(mode=mode, attributes=attributes)


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
