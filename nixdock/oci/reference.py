"""Names under which an image is known: REPOSITORY:TAG."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from nixdock.errors import InputError

__all__ = ["Reference"]

_COMPONENT: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_LABEL: Final = r"[a-z0-9]+(?:-+[a-z0-9]+)*"
_HOST: Final = rf"(?:localhost|{_LABEL}(?:\.{_LABEL})+|{_LABEL}(?=:))(?::[0-9]+)?"
_REPOSITORY: Final = re.compile(rf"(?:{_HOST}/)?{_COMPONENT}(?:/{_COMPONENT})*", re.ASCII)
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Reference:
    """A repository, perhaps with a registry's host before it, and a tag."""

    repository: str
    tag: str

    @classmethod
    def of(cls, name: str, tag: str) -> Reference:
        """Lower-case `name`, keep `tag`, and check both; raise InputError.

        The grammar is the distribution-spec's, "Pulling manifests".
        """
        repository = name.lower()
        # Letters such as the Kelvin sign are ASCII only once they are lower-cased.
        if not name.isascii() or len(name) > 255 or _REPOSITORY.fullmatch(repository) is None:
            raise InputError(
                f"{name!r} is not an image name: expected [HOST[:PORT]/]NAME[/NAME...], where a"
                " NAME is letters and digits, joined by '.', '_', '__' or dashes"
            )
        if _TAG.fullmatch(tag) is None:
            raise InputError(
                f"{tag!r} is not a tag: expected at most 128 letters, digits, '_', '.' and '-',"
                " not starting with '.' or '-'"
            )
        return cls(repository, tag)

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read REPOSITORY[:TAG]; the tag is `latest` when there is none."""
        repository, separator, tag = text.rpartition(":")
        if not separator or "/" in tag:
            repository, tag = text, "latest"
        return cls.of(repository, tag)

    @property
    def canonical(self) -> str:
        """The name in full, as containerd stores it: with Docker Hub's host where none is given."""
        host, separator, _ = self.repository.partition("/")
        if separator and ("." in host or ":" in host or host == "localhost"):
            return str(self)
        library = "" if separator else "library/"
        return f"docker.io/{library}{self}"

    def __str__(self) -> str:
        return f"{self.repository}:{self.tag}"
