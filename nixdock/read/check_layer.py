"""Whether a layer's blob is what is said of it, and its tar one that every runtime unpacks."""

from __future__ import annotations

from nixdock.errors import ImageError
from nixdock.layers.decompression import DecompressedReader
from nixdock.layers.hashed import HashedReader, buffered, drain
from nixdock.oci.coding import Coding
from nixdock.read.layer_rules import LayerRules
from nixdock.read.problem import Problem
from nixdock.read.stored import StoredLayer
from nixdock.tar.reader import TarReader

__all__ = ["check_blob", "check_layer"]


def check_layer(layer: StoredLayer) -> list[Problem]:
    """Read a layer once and return all that is wrong with it."""
    problems = [Problem(layer.place, text) for text in filter(None, [layer.media_type_error()])]
    with HashedReader(layer.members.open(layer.name)) as blob:
        problems += _check_tar(blob, layer)
    problems += check_blob(blob, layer.place, layer.declared_digest, layer.size)
    return problems


def check_blob(
    blob: HashedReader, place: str, digest: str | None, size: int | None
) -> list[Problem]:
    """Return what is wrong with a blob that was read to its end."""
    problems = []
    if size is not None and blob.size != size:
        problems.append(Problem(place, f"the blob has {blob.size} bytes, but should have {size}"))
    if digest is not None and blob.digest != digest:
        message = f"the blob {digest} is damaged: its digest is {blob.digest}"
        problems.append(Problem(place, message))
    return problems


def _check_tar(blob: HashedReader, layer: StoredLayer) -> list[Problem]:
    """Return what is wrong with the tar in `blob`; read both to their ends."""
    raw = blob if layer.coding is Coding.NONE else DecompressedReader(blob, layer.coding, "it")
    tar = HashedReader(raw)
    stream = buffered(tar)
    check = LayerRules()
    reader = TarReader(stream)
    problems: list[Problem] = []
    readable = True
    try:
        for member in reader:
            check.add(member)
    except ImageError as error:
        check.complain(str(error))
    try:
        drain(stream)
    except ImageError as error:
        # The tar's reader, too, may have come no further than this.
        readable = False
        if str(error) not in check.messages:
            check.complain(str(error))
    drain(blob)
    if reader.global_headers:
        check.complain("it has a PAX global header, at which umoci fails")
    problems += [Problem(layer.place, message) for message in check.messages]
    if check.unsaid:
        problems.append(Problem(layer.place, f"and {check.unsaid} problems more"))
    if readable and tar.digest != layer.diff_id:
        message = f"its diff_id is {layer.diff_id}, but uncompressed its digest is {tar.digest}"
        problems.append(Problem(layer.place, message))
    return problems
