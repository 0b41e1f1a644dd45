"""The memory of an image: its plan, in a key of the image config, for the next image.

It is in the config's top level, which runtimes keep but do not read. It can't be in a label:
containerd runs no image with a label of more than 4096 bytes, and labels are inherited.

Each layer is one text, such as "0c3vq1lp-libc-2.36 5h1gys9w-zlib-1.3": of the hash of a store path,
its first characters are enough to find the path in the closure of the next image. The layers and
counts of an image with many paths are packed instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
import orjson

from nixdock.errors import LayeringError
from nixdock.layering.packed_memory import pack_memory, unpack_memory
from nixdock.layering.plan_file import (
    PLAN_VERSION,
    Count,
    StoreDir,
    checked_plan,
    convert_versioned,
)
from nixdock.layering.plan_history import ABBREVIATION, abbreviated

if TYPE_CHECKING:
    from nixdock.layering.plan_history import PlanHistory, PreviousPlan
    from nixdock.nix.store_path import StorePath

__all__ = ["MOST_MEMORY", "memory_document", "parse_memory"]

MOST_MEMORY: Final = 128 << 10
"""The greatest size of the memory in bytes: every program that uses an image reads the config."""

_MOST_TEXT: Final = 16 << 10
"""The greatest size of a memory that is text, which people can read."""

_ORIGIN: Final = "the memory in the image config"

Layers = Sequence[Sequence["StorePath"]]


class _Memory(msgspec.Struct, frozen=True, omit_defaults=True):
    chain_id: str
    store: StoreDir
    layers: list[Annotated[str, msgspec.Meta(min_length=1)]]
    steps: Count = 0
    app_only: Count = 0
    counts: dict[str, tuple[Count, Count]] = {}
    packed: str = ""


def memory_document(
    layers: Layers, history: PlanHistory, chain_id: str, most: int = MOST_MEMORY
) -> Mapping[str, Any] | None:
    """Return the memory, as JSON of at most `most` bytes, of an image that has these store layers.

    `chain_id` is that of all layers of the image. Without room for the store layers, the memory has
    only the history; without room for that, it is None.
    """
    store = next((path.store_dir for layer in layers for path in layer), "/nix/store")
    paths = [path for layer in layers for path in layer]
    # Two versions of one text, with hashes that begin alike, are next to impossible.
    is_unique = len({abbreviated(path) for path in paths}) == len(paths)
    document = {
        "version": PLAN_VERSION,
        "chain_id": chain_id,
        "store": store,
        "layers": _layer_texts(layers, ABBREVIATION if is_unique else None),
        "steps": history.steps,
        "app_only": history.app_only,
        "counts": {key: [c.seen, c.changed] for key, c in history.counts.items()},
    }
    if is_unique and len(orjson.dumps(document)) > _MOST_TEXT:
        starts = [
            [(path.hash_part[:ABBREVIATION], path.name) for path in layer] for layer in layers
        ]
        packed = pack_memory(starts, history.counts)
        # Earlier versions find no layers, and read those of the image.
        document |= {"layers": [], "counts": {}, "packed": packed}
    if len(orjson.dumps(document)) <= most:
        return document
    counts = {key: [c.seen, c.changed] for key, c in history.counts.items()}
    document = {key: value for key, value in document.items() if key != "packed"}
    document |= {"layers": [], "counts": counts}
    return document if len(orjson.dumps(document)) <= most else None


def parse_memory(value: Any, chain_id: str) -> PreviousPlan:
    """Read the memory of an image whose layers have `chain_id`; some hashes are abbreviated.

    The plan has no layers if there was no room for them. Raise LayeringError if the memory is
    damaged, or if it is that of an image with other layers.
    """
    memory = convert_versioned(value, _Memory, _ORIGIN)
    if memory.chain_id != chain_id:
        raise LayeringError(
            f"{_ORIGIN} is that of another image: it describes layers with the chain ID"
            f" {memory.chain_id!r}, not {chain_id}",
            key="chain_id",
            digest=chain_id,
        )
    # Whoever made the image may be hostile, and what is unpacked takes many times the memory.
    if len(msgspec.json.encode(memory)) > MOST_MEMORY:
        raise LayeringError(f"{_ORIGIN} is larger than {MOST_MEMORY} bytes")
    texts, counts = memory.layers, memory.counts
    if memory.packed:
        unpacked = unpack_memory(memory.packed, _ORIGIN)
        texts, counts = unpacked.layers, unpacked.counts
    layers = ([f"{memory.store}/{_padded(name)}" for name in layer.split(" ")] for layer in texts)
    return checked_plan(_ORIGIN, layers, memory.steps, memory.app_only, counts)


def _layer_texts(layers: Layers, length: int | None) -> list[str]:
    return [
        " ".join(f"{path.hash_part[:length]}-{path.name}" for path in layer) for layer in layers
    ]


def _padded(name: str) -> str:
    """Return the base name of a store path with its hash, if it is abbreviated, padded by zeros."""
    hash_part, dash, rest = name.partition("-")
    return f"{hash_part:0<32}{dash}{rest}" if len(hash_part) == ABBREVIATION else name
