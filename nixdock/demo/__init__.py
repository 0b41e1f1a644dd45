"""The closure that is part of nixdock, and the spec of the demo image.

`src` has the Nix expression of the closure, `closure.tar` its store paths, and `graph.json` one
reference graph for each architecture.
"""

from __future__ import annotations

import io
import platform
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path, PurePosixPath
from typing import Final

from nixdock.errors import StoreError
from nixdock.nix.closure import Closure
from nixdock.nix.reference_graph import parse_closure
from nixdock.nix.store_path import StorePath
from nixdock.spec.closure_spec import ClosureSpec
from nixdock.spec.image_spec import ImageSpec, StoreSpec
from nixdock.system.scratch import temporary_directory

__all__ = ["ARCHITECTURES", "DemoClosure", "native_architecture", "unpacked_closure"]

ARCHITECTURES: Final = ("amd64", "arm64")

_IMAGE: Final = "nixdock-demo"
_PROFILE: Final = "nixdock-demo-profile"
_PROGRAM: Final = "nixdock-demo"
_GO_NAMES: Final = {"aarch64": "arm64", "arm64": "arm64"}


class DemoClosure:
    """The closure for one architecture.

    Its store is below `root`, and its reference graph is in the file `graph`.
    """

    def __init__(self, root: Path, graph: Path, architecture: str) -> None:
        self.root = root
        self.graph = graph
        self.architecture = architecture
        self.closure: Closure = parse_closure(graph.read_bytes(), (architecture,), str(graph))

    @property
    def program(self) -> str:
        """The path of the program in the image."""
        return f"{self._path(_PROGRAM)}/bin/{_PROGRAM}"

    def spec(self) -> ImageSpec:
        """Return the spec of the demo image."""
        return ImageSpec(
            version=1,
            name=_IMAGE,
            architecture=self.architecture,
            # Not Cmd, which the arguments of `docker run` would replace.
            config={"Entrypoint": [self.program]},
            closure=ClosureSpec(graph=str(self.graph), keys=[self.architecture]),
            store=StoreSpec(root=str(self.root)),
            contents=[self._path(_PROFILE)],
        )

    def _path(self, name: str) -> StorePath:
        return next(path for path in self.closure.infos if path.name == name)


def native_architecture() -> str:
    """Return this machine's architecture if it is one of ARCHITECTURES, else the first of them."""
    return _GO_NAMES.get(platform.machine().lower(), ARCHITECTURES[0])


@contextmanager
def unpacked_closure(architecture: str) -> Iterator[DemoClosure]:
    """Unpack the closure into a temporary directory, which is removed when the block ends."""
    package = files(__name__)
    with temporary_directory() as temporary:
        root = temporary / "root"
        graph = temporary / "graph.json"
        root.mkdir()
        _unpack(package.joinpath("closure.tar").read_bytes(), root)
        graph.write_bytes(package.joinpath("graph.json").read_bytes())
        yield DemoClosure(root, graph, architecture)


def _unpack(archive: bytes, root: Path) -> None:
    """Unpack a tar of store paths with the modes of a Nix store, independently of the umask.

    Raise StoreError if a member is not in /nix/store.
    """
    # Not `extractall`: its filters differ between Python versions, and they refuse the absolute
    # symlinks of a profile.
    directories = []
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as tar:
        for member in tar:
            parts = PurePosixPath(member.name).parts
            if parts[:2] != ("nix", "store") or ".." in parts or len(parts) < 3:
                raise StoreError(
                    f"the demo's closure.tar has the member {member.name!r}, which is not in a"
                    " store path; reinstall nixdock",
                    place=member.name,
                )
            target = root.joinpath(*parts)
            target.parent.mkdir(parents=True, exist_ok=True)
            if member.isdir():
                target.mkdir()
                directories.append(target)
            elif member.issym():
                target.symlink_to(member.linkname)
            elif (source := tar.extractfile(member)) is not None:
                with target.open("xb") as file:
                    file.write(source.read())
                target.chmod(0o555 if member.mode & 0o100 else 0o444)
    for directory in directories:
        directory.chmod(0o555)
