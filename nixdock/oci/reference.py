"""Image references of the form REPOSITORY:TAG."""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

from nixdock.errors import InputError

__all__ = ["DOCKER_HUB", "Reference", "is_tag"]

DOCKER_HUB: Final = "docker.io"
"""The host of images whose reference names none."""

_HUB_NAMES: Final = frozenset({DOCKER_HUB, "index.docker.io"})

_COMPONENT: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_LABEL: Final = r"[a-z0-9]+(?:-+[a-z0-9]+)*"
_HOST: Final = rf"(?:localhost|{_LABEL}(?:\.{_LABEL})+|{_LABEL}(?=:))(?::[0-9]+)?"
_REPOSITORY: Final = re.compile(rf"(?:{_HOST}/)?{_COMPONENT}(?:/{_COMPONENT})*", re.ASCII)
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", re.ASCII)


def is_tag(text: str) -> bool:
    """Tell whether a text is a tag, as the distribution-spec has it."""
    return _TAG.fullmatch(text) is not None


class Reference(Struct, frozen=True):
    """A repository, which may start with the host of a registry, and a tag."""

    repository: str
    tag: str

    @classmethod
    def of(cls, name: str, tag: str) -> Reference:
        """Return the reference with the repository `name`, in lower case, and `tag`.

        Raise InputError if one of them does not match the grammar of the distribution-spec
        ("Pulling manifests").
        """
        repository = name.lower()
        # Check the original name too: the Kelvin sign, for instance, becomes an ASCII k.
        if not name.isascii() or len(name) > 255 or _REPOSITORY.fullmatch(repository) is None:
            raise InputError(
                f"{name!r} is not an image name: expected [HOST[:PORT]/]NAME[/NAME...], where each"
                " NAME is letters and digits, joined by '.', '_', '__' or dashes"
            )
        if not is_tag(tag):
            raise InputError(
                f"{tag!r} is not a tag: expected at most 128 letters, digits, '_', '.' and '-',"
                " without '.' or '-' at the start"
            )
        return cls(repository, tag)

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Parse REPOSITORY[:TAG]; the default tag is `latest`. Raise InputError as `of` does."""
        repository, separator, tag = text.rpartition(":")
        if not separator or "/" in tag:
            repository, tag = text, "latest"
        return cls.of(repository, tag)

    @classmethod
    def tagged(cls, name: str, text: str) -> Reference:
        """Return the reference that `text` is: NAME:TAG, or TAG alone for the repository `name`.

        Raise InputError as `of` does.
        """
        repository, separator, tag = text.rpartition(":")
        return cls.of(repository if separator else name, tag)

    @property
    def has_host(self) -> bool:
        """Whether the repository starts with a host."""
        host, separator, _ = self.repository.partition("/")
        return bool(separator) and ("." in host or ":" in host or host == "localhost")

    @property
    def canonical(self) -> str:
        """The full reference, as containerd stores it: the default host is Docker Hub's."""
        host, _, path = self.repository.partition("/")
        if self.has_host and host not in _HUB_NAMES:
            return str(self)
        own = path if self.has_host else self.repository
        library = "" if "/" in own else "library/"
        return f"{DOCKER_HUB}/{library}{own}:{self.tag}"

    def __str__(self) -> str:
        return f"{self.repository}:{self.tag}"
