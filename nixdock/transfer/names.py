"""The names of an image in a file: in annotations, and in Docker's `manifest.json`."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from nixdock.errors import InputError
from nixdock.oci.layout import CONTAINERD_NAME, REF_NAME
from nixdock.oci.reference import Reference
from nixdock.oci.registry_reference import RegistryReference
from nixdock.read.opening import familiar_name
from nixdock.system.text import shown

__all__ = ["agreed_names", "annotations_of", "docker_names", "name_of", "renamed"]

log = logging.getLogger(__name__)


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


def agreed_names(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names of an image in an archive in which Docker and OCI tools find the same ones.

    If Docker takes any, a tag alone becomes one of its repository, and others are left out.
    """
    names = tuple(names)
    taken = docker_names(names)
    if not taken:
        return names
    agreed = []
    for name in names:
        full = renamed(taken, name)
        if docker_names([full]):
            agreed.append(full)
        else:
            log.warning("the name %r is left out: it is not NAME:TAG", shown(name))
    return tuple(dict.fromkeys(agreed))
