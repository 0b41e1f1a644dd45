"""A top layer that was packed before the image is built."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from nixdock.errors import NixdockError, SpecError
from nixdock.layers.layer import OWN_FILES_HISTORY, Layer
from nixdock.layers.pack import pack
from nixdock.layers.tar_file import TarLayer
from nixdock.oci.digests import check_digest, hex_of
from nixdock.system.atomic import whole_directory
from nixdock.system.directory_form import DirectoryForm
from nixdock.system.scratch import temporary_directory
from nixdock.system.writers import FileWriter

__all__ = ["pack_to_temporary_tar", "read_top_layer", "write_top_layer"]

_TAR: Final = "layer.tar"
_CHECKSUM: Final = "checksum"
_FORM: Final = DirectoryForm(_CHECKSUM, re.compile(re.escape(_TAR)))


def pack_to_temporary_tar(layer: Layer, stack: ExitStack) -> TarLayer:
    """Pack `layer` into a file that is removed when `stack` is closed."""
    directory = stack.enter_context(temporary_directory())
    file = directory / _TAR
    return TarLayer(file, pack(layer, file).diff_id, layer.history)


def write_top_layer(layer: Layer, target: Path) -> None:
    """Pack `layer` into the directory `target`, which `read_top_layer` reads."""
    with whole_directory(target, _FORM) as directory:
        blob = pack(layer, directory / _TAR)
        with FileWriter(directory / _CHECKSUM) as file:
            file.write(f"{hex_of(blob.diff_id)}\n".encode())


def read_top_layer(directory: Path) -> TarLayer:
    """Return the layer that `write_top_layer` wrote; raise SpecError if there is none."""
    try:
        checksum = (directory / _CHECKSUM).read_text(encoding="ascii", errors="replace")
        digest = check_digest(f"sha256:{checksum.strip()}")
    except (OSError, NixdockError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise SpecError(
            f"top_layer: {directory} is not a top layer with {_TAR} and {_CHECKSUM}: {reason}",
            path=directory,
            key="top_layer",
        ) from None
    return TarLayer(directory / _TAR, digest, OWN_FILES_HISTORY)
