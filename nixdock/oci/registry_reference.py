"""References to images in registries: HOST/REPOSITORY with a tag or a digest."""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

from nixdock.errors import ImageError, InputError
from nixdock.oci.digests import check_digest
from nixdock.oci.reference import DOCKER_HUB, Reference

__all__ = ["DOCKER_HUB", "RegistryReference", "check_no_password", "without_ipv6"]

_HUB_NAMES: Final = frozenset({DOCKER_HUB, "index.docker.io", "registry-1.docker.io"})
# USER[:PASSWORD]@HOST, perhaps in a URL.
_WITH_USER: Final = re.compile(r"(?:[a-z+-]+:(?://)?)?(?:[^/@]*:[^/@]*@|[^/@]+@[^/@]+/)")
_WITH_DIGEST: Final = re.compile(r"[^@]*@sha[0-9]+:[^/@]*", re.DOTALL)
_PORTS: Final = range(1, 1 << 16)
_IPV6: Final = re.compile(r"\[[0-9A-Fa-f:.]+\](?::[0-9]+)?", re.ASCII)


def check_no_password(text: str) -> None:
    """Raise InputError, which does not quote it, if a text has what may be a password before @."""
    if _WITH_USER.match(text) and not _WITH_DIGEST.fullmatch(text):
        raise InputError(
            "an image reference contains no user name or password, and what follows @ is a digest:"
            " expected [HOST/]REPOSITORY[:TAG][@sha256:…]; `nixdock login HOST` stores credentials"
        )


def without_ipv6(name: str) -> str:
    """Return a name with another host for an IPv6 address, of which the grammar knows none."""
    host, slash, path = name.partition("/")
    return f"host.example/{path}" if slash and _IPV6.fullmatch(host) else name


class RegistryReference(Struct, frozen=True):
    """An image in a registry; the digest, if there is one, counts more than the tag.

    `host` may have a port. Images of Docker Hub have the host `docker.io`, and those without an
    owner have the repository `library/NAME`.
    """

    host: str
    repository: str
    tag: str | None = None
    digest: str | None = None

    @classmethod
    def parse(cls, text: str) -> RegistryReference:
        """Parse [docker://][HOST/]REPOSITORY[:TAG][@DIGEST]; the default tag is `latest`.

        Raise InputError, which quotes no part that may be a password, if a part does not match the
        grammar of the distribution-spec ("Pulling manifests") or of the image-spec (descriptor.md,
        "Digests").
        """
        name, at, digest = text.removeprefix("docker://").partition("@")
        check_no_password(text)
        try:
            checked = check_digest(digest) if at else None
        except ImageError as error:
            raise InputError(f"{text!r} is not an image reference: {error}") from None
        repository, colon, last = name.rpartition(":")
        tag: str | None = last
        if not colon or "/" in last or "]" in last:
            repository, tag = name, None
        host, slash, path = repository.partition("/")
        has_host = slash and ("." in host or ":" in host or host == "localhost")
        if not has_host:
            host, path = DOCKER_HUB, repository
        try:
            Reference.of(without_ipv6(f"{host}/{path}"), "latest" if tag is None else tag)
        except InputError as error:
            raise InputError(f"{text!r} is not an image reference: {error}") from None
        port = host.rpartition("]")[2].partition(":")[2]
        if port and (len(port) > 5 or int(port) not in _PORTS):
            raise InputError(f"{text!r} is not an image reference: there is no port {port}")
        if host in _HUB_NAMES:
            host = DOCKER_HUB
            path = path if "/" in path else f"library/{path}"
        default_tag = None if checked else "latest"
        return cls(host.lower(), path.lower(), tag or default_tag, checked)

    @property
    def name(self) -> str:
        """The host and the repository."""
        return f"{self.host}/{self.repository}"

    @property
    def manifest(self) -> str:
        """What the image's manifest is asked for by: the digest, or else the tag."""
        return self.digest or self.tag or "latest"

    def at(self, digest: str) -> RegistryReference:
        """Return the reference to another manifest in the same repository."""
        return RegistryReference(self.host, self.repository, None, digest)

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.name}{tag}" + (f"@{self.digest}" if self.digest else "")
