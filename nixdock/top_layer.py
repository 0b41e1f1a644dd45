"""The top layer: trees joined at `/`, and what the image's own script makes of them."""

from __future__ import annotations

import logging
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from nixdock.atomic import whole_directory
from nixdock.digest import check_digest, hex_of
from nixdock.errors import NixdockError, PackError, SpecError
from nixdock.layer import OWN_FILES_HISTORY, LayerSource, TarLayer, TreeLayer
from nixdock.pack import pack
from nixdock.tar_header import MemberMeta

__all__ = ["join", "prepared_tree", "read_top_layer", "run_script", "write_top_layer"]

_TAR: Final = "layer.tar"
_CHECKSUM: Final = "checksum"

# In a Nix build the script may use what the builder's setup defines, as dockerTools lets it.
_SHELL_PRELUDE: Final = """
if [ -e "${NIX_ATTRS_SH_FILE:-}" ]; then . "$NIX_ATTRS_SH_FILE"; fi
if [ -e "${stdenv:-}/setup" ]; then . "$stdenv/setup"; fi
set -e
. "$1"
"""

log = logging.getLogger(__name__)


@dataclass
class _Join:
    """One join under way: the tree that grows, and which content each leaf came from."""

    into: Path
    root: str
    sources: dict[str, str] = field(default_factory=dict)

    def add(self, content: str, relative: str = "") -> None:
        """Add the directory `relative` of `content`."""
        directory = f"{self.root}{content}/{relative}"
        for entry in sorted(os.scandir(directory), key=lambda entry: entry.name):
            inner = f"{relative}/{entry.name}" if relative else entry.name
            if entry.is_dir(follow_symlinks=False):
                self._add_directory(content, inner)
                self.add(content, inner)
            else:
                self._add_leaf(content, inner, entry)

    def _add_directory(self, content: str, relative: str) -> None:
        target = self.into / relative
        if os.path.lexists(target):
            if target.is_symlink():
                raise _clash(relative, f"{content} has a directory", self.sources[relative])
            return
        self.sources[relative] = content
        target.mkdir()
        target.chmod(0o755)

    def _add_leaf(self, content: str, relative: str, entry: os.DirEntry[str]) -> None:
        target = self.into / relative
        link = f"{content}/{relative}"
        if entry.is_symlink():
            link = _kept_link(entry.path, relative) or link
        if not os.path.lexists(target):
            self.sources[relative] = content
            target.symlink_to(link)
        elif not target.is_symlink():
            raise _clash(relative, f"{content} has a file", self.sources[relative])
        elif not self._same(target, link):
            log.warning(
                "/%s is in two contents: %s is used, %s is not",
                relative,
                f"{self.sources[relative]}/{relative}",
                f"{content}/{relative}",
            )

    def _same(self, target: Path, link: str) -> bool:
        """Tell whether the link in place and the one that comes late give the same file."""
        held = os.readlink(target)
        if held == link:
            return True
        one, other = Path(self.root + held), Path(self.root + link)
        if not (
            held.startswith("/") and link.startswith("/") and one.is_file() and other.is_file()
        ):
            return False
        return (
            stat.S_IMODE(one.stat().st_mode) == stat.S_IMODE(other.stat().st_mode)
            and one.read_bytes() == other.read_bytes()
        )


def join(contents: Sequence[str], into: Path, root: str = "") -> None:
    """Join the trees `contents` in the empty directory `into`.

    Directories are real, files are links to where they lie, and links are kept as they are
    unless they lead out of their tree. Where two contents disagree on a file the first one wins,
    with a warning; a file against a directory raises SpecError. `root` is the directory below
    which the contents lie, when that is not `/`.
    """
    into.chmod(0o755)
    joining = _Join(into, root)
    for content in dict.fromkeys(path.rstrip("/") for path in contents):
        place = Path(f"{root}{content}")
        if not place.exists():
            raise SpecError(f"contents: {content} does not exist")
        if not place.is_dir():
            log.warning("%s is not a directory: nothing of it is put at /", content)
            continue
        try:
            joining.add(content)
        except OSError as error:
            raise PackError(f"can't join {error.filename or content}: {error.strerror}") from None


def _kept_link(path: str, relative: str) -> str | None:
    """Return the text of the link at `path`, unless it is relative and leads out of its tree."""
    text = os.readlink(path)
    if text.startswith("/"):
        return text
    resolved = os.path.normpath(f"{os.path.dirname(relative)}/./{text}".lstrip("/"))  # noqa: PTH120
    return None if resolved == ".." or resolved.startswith("../") else text


def _clash(relative: str, late: str, first: str) -> SpecError:
    other = "a file" if late.endswith("directory") else "a directory"
    return SpecError(f"contents: at /{relative}, {first} has {other}, but {late}")


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
def prepared_tree(
    contents: Sequence[str], script: str, meta: MemberMeta, root: str = ""
) -> Iterator[LayerSource]:
    """Give the source of a top layer, whose tree lasts as long as the block."""
    with tempfile.TemporaryDirectory(prefix="nixdock-") as temporary:
        tree = Path(temporary) / "root"
        tree.mkdir()
        join(contents, tree, root)
        if script.strip():
            run_script(script, tree)
        yield TreeLayer(tree, meta)


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
