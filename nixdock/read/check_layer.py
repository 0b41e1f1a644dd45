"""Check a layer's blob against its descriptor, and its tar against the rules of the runtimes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from nixdock.coding.codings import Coding
from nixdock.coding.decompression import DecompressedReader
from nixdock.errors import ImageError
from nixdock.layers.hashed import HashedReader, buffered, drain
from nixdock.read.layer_rules import LayerRules
from nixdock.read.problem import Problem
from nixdock.read.stored_layer import StoredLayer
from nixdock.system.readers import CopyReader
from nixdock.system.text import counted
from nixdock.tar.reader import TarReader

if TYPE_CHECKING:
    from nixdock.read.chunked.check import ChunkedCheck

__all__ = ["Checked", "check_blob", "check_layer"]


class Checked(Struct, frozen=True):
    """The problems of a blob; `needs_lower` says that only lower layers can show all of them."""

    problems: list[Problem]
    needs_lower: bool = False


def check_layer(layer: StoredLayer) -> Checked:
    """Read a layer once and return its problems."""
    problems = [Problem(layer.place, text) for text in filter(None, [layer.media_type_error()])]
    if not problems and (text := layer.media_type_warning()):
        problems.append(Problem(layer.place, text, key="mediaType", warning=True))
    raw = layer.members.open(layer.name)
    chunks = _chunked_check(layer)
    with HashedReader(raw if chunks is None else CopyReader(raw, chunks.raw)) as blob:
        rules = LayerRules()
        problems += _check_tar(blob, layer, rules, chunks)
    problems += check_blob(blob, layer.place, layer.declared_digest, layer.size)
    return Checked(problems, rules.needs_lower)


def _chunked_check(layer: StoredLayer) -> ChunkedCheck | None:
    """Return the check of a layer that can be fetched in part, or None."""
    if not layer.annotations:
        return None
    from nixdock.read.chunked.check import chunked_check  # noqa: PLC0415 (few layers need it)

    return chunked_check(layer.annotations, layer.coding)


def check_blob(
    blob: HashedReader, place: str, digest: str | None, size: int | None
) -> list[Problem]:
    """Return the problems of a blob that was read to its end."""
    problems = []
    if size is not None and blob.size != size:
        problems.append(Problem(place, f"the blob has {blob.size} bytes, but should have {size}"))
    if digest is not None and blob.digest != digest:
        message = f"the blob {digest} is damaged: its digest is {blob.digest}"
        problems.append(Problem(place, message, blob.digest))
    return problems


def _check_tar(
    blob: HashedReader, layer: StoredLayer, rules: LayerRules, chunks: ChunkedCheck | None
) -> list[Problem]:
    """Return the problems of the tar in `blob`; read both to their ends."""
    # The digest of a blob that is not compressed is that of its tar.
    expanded, tar = None, blob
    if layer.coding is not Coding.NONE:
        on_frame = None if chunks is None else chunks.frame
        expanded = DecompressedReader(blob, layer.coding, on_frame=on_frame)
        tar = HashedReader(expanded)
    stream = buffered(tar if chunks is None else CopyReader(tar, chunks.tar))
    reader = TarReader(stream, sparse=True)
    problems: list[Problem] = []
    readable = True
    try:
        for member in reader:
            rules.add(member)
    except ImageError as error:
        rules.complain(str(error))
    try:
        drain(stream)
    except ImageError as error:
        # The loop above may have stopped at the same error.
        readable = False
        if str(error) not in rules.messages:
            rules.complain(str(error))
    drain(blob)
    if reader.global_headers:
        rules.complain("the tar has a PAX global header, at which umoci fails")
    warnings = [f"the tar is incomplete: {remark}" for remark in reader.remarks]
    if expanded is not None and expanded.has_padding:
        warnings.append(
            "NUL bytes follow the gzip data: gzip and pigz ignore them, Podman does not"
        )
    warnings += rules.warnings.values()
    problems += [Problem(layer.place, message, warning=True) for message in warnings]
    problems += [Problem(layer.place, message) for message in rules.messages]
    if rules.unlisted:
        problems.append(Problem(layer.place, f"and {counted(rules.unlisted, 'more problem')}"))
    if readable and tar.digest != layer.diff_id:
        message = (
            f"the layer's diff_id is {layer.diff_id}, but its digest is {tar.digest} when"
            " uncompressed"
        )
        problems.append(Problem(layer.place, message, tar.digest))
    # What is wrong with the tar itself makes other differences, too.
    if chunks is not None and readable and not rules.messages:
        problems += [Problem(layer.place, message) for message in chunks.messages()]
    return problems
