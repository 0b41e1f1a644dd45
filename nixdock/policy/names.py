"""The names of the files in the layers of an image, read in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from msgspec import Struct, field

from nixdock.errors import ImageError
from nixdock.layers.hashed import buffered, drain
from nixdock.layers.progress import NO_PROGRESS, Progress
from nixdock.read.side_by_side import Advance, read_side_by_side
from nixdock.read.watched import CountedReader, watched
from nixdock.system.cores import available_cores
from nixdock.system.processes import shared_numbers
from nixdock.tar.names import normalised
from nixdock.tar.reader import TarReader
from nixdock.tar.whiteouts import is_whiteout

if TYPE_CHECKING:
    from nixdock.read.stored_layer import StoredLayer

__all__ = ["read_names", "with_directories"]

# Names have this size in bytes beside that of their text.
_NAME_SIZE: Final = 100
# The size in bytes of the names of all layers, which are in memory until the last one is read.
_MOST_NAMES: Final = 512 << 20
# The size in bytes of the names of a layer's directories that have no entry of their own; one
# member's name can imply many of them.
_MOST_DIRECTORIES: Final = 256 << 20
# How many bytes of names a layer has before it looks at how many the others have.
_STEP: Final = 1 << 20


def read_names(
    layers: Sequence[StoredLayer],
    progress: Progress = NO_PROGRESS,
    *,
    with_names: bool,
    is_local: bool,
) -> list[tuple[int, frozenset[bytes]]]:
    """Read and verify layers; return the size of each tar, and the names in it if they are wanted.

    Names are normalised. `is_local` says that the layers are in files. Raise ImageError if one is
    damaged, or if the names take too much memory.
    """
    used = shared_numbers(len(layers))
    jobs = [
        partial(_read, layer, _Names(layer, used, number) if with_names else None)
        for number, layer in enumerate(layers)
    ]
    sizes = [layer.size for layer in layers]
    return read_side_by_side(jobs, sizes, available_cores(), progress, is_local=is_local)


def with_directories(names: Iterable[bytes], subject: str = "the layer") -> frozenset[bytes]:
    """Return a layer's normalised names, and those of directories that have no entry of their own.

    Runtimes make such directories when they unpack what is in them. Raise ImageError, about
    `subject`, if the names of these directories take too much memory.
    """
    own = frozenset(names)
    found: set[bytes] = set()
    size = 0
    for name in own:
        end = -1 if is_whiteout(name) else name.rfind(b"/")
        while end > 0 and (directory := name[:end]) not in found and directory not in own:
            found.add(directory)
            size += end + _NAME_SIZE
            if size > _MOST_DIRECTORIES:
                raise ImageError(
                    f"{subject}: the names of directories that have no entry of their own take more"
                    f" than {_MOST_DIRECTORIES} bytes",
                    place=subject,
                )
            end = name.rfind(b"/", 0, end)
    return own | found


class _Names(Struct):
    """The names in a layer; `used` has, at `number`, the size of its names, which others see."""

    layer: StoredLayer
    used: memoryview
    number: int
    names: set[bytes] = field(default_factory=set)
    size: int = 0

    def add(self, raw_name: bytes) -> None:
        """Add the name of a member; raise ImageError if it is not valid or is one too many."""
        try:
            name = normalised(raw_name)
        except ImageError as error:
            raise self.layer.fault(f"a member has an invalid name: {error}") from None
        if name in self.names:
            return
        self.names.add(name)
        self.size += len(name) + _NAME_SIZE
        if self.size >= self.used[self.number] + _STEP:
            self.used[self.number] = self.size
            if sum(self.used) > _MOST_NAMES:
                raise self.layer.fault(
                    f"the names in this layer and in others take more than {_MOST_NAMES} bytes"
                )


def _read(
    layer: StoredLayer, names: _Names | None, advance: Advance
) -> tuple[int, frozenset[bytes]]:
    with CountedReader(watched(layer, advance).open_tar()) as counting:
        stream = buffered(counting)
        for member in TarReader(stream, layer.subject, sparse=True):
            if names is not None:
                names.add(member.name)
        drain(stream)
        return counting.size, frozenset(names.names if names is not None else ())
