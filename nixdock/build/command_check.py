"""Finding out whether the program that an image runs is in the image."""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import chain

from nixdock.layers.layer import ListedLayer
from nixdock.oci.container_config import ContainerConfig
from nixdock.rootfs.base_image import BaseImage
from nixdock.spec.image_spec import ImageSpec
from nixdock.tar.kinds import Kind

__all__ = ["missing_program"]


def missing_program(
    spec: ImageSpec,
    config: ContainerConfig,
    layers: Iterable[ListedLayer],
    base: BaseImage | None,
) -> str | None:
    """Return a message if the image surely lacks the program that `config` runs.

    The image has `layers` and those of the store paths in the resolved `spec`, on top of `base`.
    Names to be searched for in PATH are not checked, nor are files outside of the store that may be
    in the base image or behind a symlink.
    """
    key = "Entrypoint" if config.Entrypoint else "Cmd"
    command = getattr(config, key) or [""]
    program = command if isinstance(command, str) else command[0]
    if program.startswith(f"{spec.store.directory}/"):
        problem = _missing_in_store(spec, base, program)
    elif program.startswith("/") and base is None:
        problem = _missing_in_layers(layers, os.fsencode(program))
    else:
        return None
    return problem and f"config.{key}: the image can't run {program}: {problem}"


def _missing_in_store(spec: ImageSpec, base: BaseImage | None, program: str) -> str | None:
    store_dir = spec.store.directory
    base_name = program.removeprefix(f"{store_dir}/").partition("/")[0]
    path = f"{store_dir}/{base_name}"
    own = frozenset(chain.from_iterable(spec.store_layers or []))
    if path in own:
        is_there = os.path.lexists(f"{spec.store.root}{program}")
        return None if is_there else f"there is no such file in {base_name}"
    # Without store paths of its own, the image gets a store when it is run.
    if not own or (base is not None and path in base.store(store_dir).paths):
        return None
    return f"{base_name} is not in the image; add it to the closure"


def _missing_in_layers(layers: Iterable[ListedLayer], program: bytes) -> str | None:
    for entry in chain.from_iterable(layer.entries() for layer in layers):
        name = entry.name.rstrip(b"/")
        is_link = entry.kind == Kind.SYMLINK
        if name == program or (is_link and program.startswith(name + b"/")):
            return None
    return "there is no such file; add the package that has it to contents"
