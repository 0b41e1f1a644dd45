"""The names of an image in a file: in annotations, and in Docker's `manifest.json`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from nixdock.errors import InputError
from nixdock.oci.layout import CONTAINERD_NAME, REF_NAME
from nixdock.oci.reference import Reference
from nixdock.oci.registry_reference import RegistryReference
from nixdock.read.opening import familiar_name

__all__ = ["annotations_of", "docker_names", "name_of", "renamed"]


def name_of(reference: RegistryReference) -> str:
    """Return the name that an image from a registry has in a file: with its tag, if it has one."""
    if reference.tag is None:
        return f"{reference.name}@{reference.digest}"
    return f"{reference.name}:{reference.tag}"


def renamed(names: Iterable[str], name: str) -> str:
    """Return the name of an image that was called `names` before; `name` may be a tag alone."""
    if ":" not in name and "/" not in name:
        for own in names:
            repository, colon, tag = own.partition("@")[0].rpartition(":")
            if colon and "/" not in tag:
                return f"{repository}:{name}"
            if "@" in own:
                return f"{own.partition('@')[0]}:{name}"
    return name


def annotations_of(name: str) -> Mapping[str, str]:
    """Return the annotations that name an image in an index: the tag, and the full name."""
    if "@" in name:
        return {CONTAINERD_NAME: name}
    repository, colon, tag = name.rpartition(":")
    if not colon or "/" in tag:
        return {REF_NAME: name}
    try:
        full = Reference.parse(name).canonical
    except InputError:
        # The grammar of names knows no IPv6 addresses.
        full = f"{repository}:{tag}"
    return {REF_NAME: tag, CONTAINERD_NAME: full}


def docker_names(names: Iterable[str]) -> list[str]:
    """Return the names that Docker takes: NAME:TAG."""
    taken = []
    for name in map(familiar_name, names):
        try:
            if str(Reference.parse(name)) == name:
                taken.append(name)
        except InputError:
            continue
    return taken
