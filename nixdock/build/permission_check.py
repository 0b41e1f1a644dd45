"""Checking that every permission rule applies to a file, before anything is packed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import chain
from typing import TYPE_CHECKING

from nixdock.errors import SpecError
from nixdock.layers.layer import ListedLayer
from nixdock.nix.store_path import StorePath
from nixdock.spec.image_spec import ImageSpec
from nixdock.spec.permission_rules import permission_rules
from nixdock.stores.store import Store
from nixdock.tar.permissions import PermissionRule, Rules

if TYPE_CHECKING:
    from nixdock.rootfs.base_image import BaseImage

__all__ = ["check_permissions"]


def check_permissions(
    spec: ImageSpec, layers: Iterable[ListedLayer], base: BaseImage | None, source: Store
) -> None:
    """Raise SpecError if a rule matches no file of the new layers, unless it is optional.

    The new layers are `layers` and those of the store paths in the resolved `spec`, read from
    `source`. A misspelt rule would leave an image with other owners, modes or capabilities than its
    author believes.
    """
    rules = permission_rules(spec)
    missing = {i for i, rule in enumerate(rules) if not rule.optional}
    for names in _names_in_layers(spec, layers, source):
        missing = _without_matching(rules, missing, names)
    if not missing:
        return
    i = min(missing)
    in_base = base is not None and not _without_matching(rules, {i}, _names_in_base(base))
    raise SpecError(f"perms[{i}]: {_message(rules[i], in_base=in_base)}", key=f"perms[{i}]")


def _message(rule: PermissionRule, *, in_base: bool) -> str:
    what = " and ".join(
        f"the {key} {value!r}"
        for key, value in (("path", rule.path), ("regex", rule.regex))
        if value is not None
    )
    if in_base:
        return (
            f"only files of the base image match {what}, and rules never change its layers; use"
            " fake_root_commands with enable_fakechroot instead, or set optional"
        )
    return f"no file of the image matches {what}; correct the rule, or set optional"


def _names_in_layers(
    spec: ImageSpec, layers: Iterable[ListedLayer], source: Store
) -> Iterator[Callable[[Sequence[PermissionRule]], Iterator[bytes]]]:
    """Yield functions that return the names of files that may match the given rules."""
    yield lambda rules: _names_in_store(spec, rules, source)
    for layer in layers:
        yield _names_in_layer(layer)


def _names_in_layer(layer: ListedLayer) -> Callable[[Sequence[PermissionRule]], Iterator[bytes]]:
    return lambda _: (entry.name for entry in layer.entries())


def _names_in_base(base: BaseImage) -> Callable[[Sequence[PermissionRule]], Iterator[bytes]]:
    from nixdock.read.merging import merged_tree  # noqa: PLC0415 (few images have a base)

    def names(_: Sequence[PermissionRule]) -> Iterator[bytes]:
        with ExitStack() as stack:
            tree = stack.enter_context(merged_tree(base.layers, verified=False))
            yield b"/"
            yield from (b"/" + name for name, _ in tree.walk())

    return names


def _names_in_store(
    spec: ImageSpec, rules: Sequence[PermissionRule], source: Store
) -> Iterator[bytes]:
    paths = [*map(StorePath, chain.from_iterable(spec.store_layers or []))]
    if paths:
        parts = spec.store.directory.strip("/").split("/")
        for depth in range(len(parts)):
            yield os.fsencode("/" + "/".join(parts[: depth + 1]))
    for path in paths:
        concerning = [rule for rule in rules if rule.concerns(path)]
        if any(rule.regex is not None for rule in concerning):
            yield from (entry.name for entry in source.listing(path))
            continue
        for rule in concerning:
            name = (rule.path or "").rstrip("/")
            if name.startswith(path) and source.has_file(path, name):
                yield os.fsencode(name)


def _without_matching(
    rules: Sequence[PermissionRule],
    missing: set[int],
    names: Callable[[Sequence[PermissionRule]], Iterator[bytes]],
) -> set[int]:
    """Return the `missing` rules, by index, that match none of the names."""
    if not missing:
        return missing
    order = sorted(missing)
    compiled = Rules([rules[i] for i in order])
    left = set(range(len(order)))
    for name in names(compiled.rules):
        left -= {i for i in left if compiled.matches(i, name)}
        if not left:
            break
    return {order[i] for i in left}
