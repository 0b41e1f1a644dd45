"""Fetching an image from a registry into the Nix store, for the Nix library's `pullImage`.

If a name or digest refers to an index, which lists images for several platforms, it is replaced by
the digest of the image for the requested platform. This digest alone then determines the image, on
every machine and without specifying the platform again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import orjson
from msgspec import Struct

from nixdock.errors import ImageError, InputError, NixdockError, OutputError
from nixdock.nix.hashes import Hash
from nixdock.oci.digests import check_digest
from nixdock.oci.documents import IndexDocument, PlatformDocument
from nixdock.oci.media_types import INDEX_MEDIA_TYPES
from nixdock.oci.platforms import preferred_variants
from nixdock.oci.untrusted_json import converted, parse_json
from nixdock.system.commands import run_command
from nixdock.system.scratch import temporary_directory
from nixdock.system.text import shown

__all__ = ["Prefetched", "Remote", "prefetch"]

_MOST_NESTED: Final = 4

_LOG_LINE: Final = re.compile(r'time="[^"]*" level=[a-z]+ msg=(".*")')

# What skopeo says of a registry without HTTPS, or with a certificate that is not trusted.
_UNVERIFIED: Final = ("server gave HTTP response to HTTPS client", "x509: ")


class Remote(Struct, frozen=True):
    """An image in a registry, by its `digest` or else its `tag`, for one platform."""

    name: str
    tag: str = "latest"
    digest: str | None = None
    os: str = "linux"
    architecture: str = "amd64"
    variant: str = ""
    tls_verify: bool = True

    def at(self, digest: str | None) -> str:
        """Return skopeo's name of the manifest with `digest`, or with the tag if there is none."""
        return f"docker://{self.name}" + (f"@{digest}" if digest else f":{self.tag}")

    @property
    def platform(self) -> str:
        """The platform as OS/ARCHITECTURE[/VARIANT]."""
        return "/".join(filter(None, (self.os, self.architecture, self.variant)))


class Prefetched(Struct, frozen=True):
    """An image that is in the Nix store at `path`, and the arguments that `pullImage` needs."""

    name: str
    digest: str
    hash: Hash
    final_name: str
    final_tag: str
    path: str
    tls_verify: bool = True

    def arguments(self) -> dict[str, str | bool]:
        """Return the arguments of `pullImage` by name."""
        return {
            "imageName": self.name,
            "imageDigest": self.digest,
            "hash": self.hash.sri,
            "finalImageName": self.final_name,
            "finalImageTag": self.final_tag,
        } | ({} if self.tls_verify else {"tlsVerify": False})

    def to_json(self) -> str:
        """Return the arguments as a JSON object."""
        return orjson.dumps(self.arguments(), option=orjson.OPT_INDENT_2).decode()

    def to_nix(self) -> str:
        """Return the arguments as a Nix attribute set."""
        lines = (f"  {key} = {_nix(value)};\n" for key, value in self.arguments().items())
        return f"{{\n{''.join(lines)}}}"


def _nix(value: str | bool) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    # A JSON string without control characters is a Nix string, but Nix would interpolate "${".
    return orjson.dumps(value).decode().replace("${", "\\${")


def prefetch(
    remote: Remote, final_name: str = "", final_tag: str = "", algorithm: str = "sha256"
) -> Prefetched:
    """Fetch `remote` and add it to the Nix store.

    The file has the name and the bytes that `pullImage` would give it, so that `pullImage` finds it
    in the store. Raise InputError if there is no image for the platform, ImageError if skopeo can't
    fetch the image, OutputError if it can't be added to the store, and ToolError if a program is
    missing.
    """
    final_name = final_name or remote.name
    final_tag = final_tag or remote.tag
    with temporary_directory() as directory:
        digest = resolve_digest(remote, directory)
        name = f"docker-image-{final_name}-{final_tag}.tar".replace("/", "-").replace(":", "-")
        file = directory / name
        _skopeo(
            remote,
            "copy",
            f"--src-tls-verify={str(remote.tls_verify).lower()}",
            remote.at(digest),
            f"docker-archive:{file}:{final_name}:{final_tag}",
            temporary=directory,
        )
        with file.open("rb") as stream:
            file_hash = Hash(algorithm, hashlib.file_digest(stream, algorithm).digest())
        path = _add_to_store(file, algorithm)
    return Prefetched(
        name=remote.name,
        digest=digest,
        hash=file_hash,
        final_name=final_name,
        final_tag=final_tag,
        path=path,
        tls_verify=remote.tls_verify,
    )


def resolve_digest(remote: Remote, temporary: Path) -> str:
    """Return the digest of the manifest of the image for the platform of `remote`."""
    requested = remote.digest
    for _ in range(_MOST_NESTED):
        data = _skopeo(
            remote,
            "inspect",
            f"--tls-verify={str(remote.tls_verify).lower()}",
            "--raw",
            remote.at(requested),
            temporary=temporary,
        )
        digest = requested or _manifest_digest(remote, data, temporary)
        place = remote.at(digest)
        what = f"the manifest of {place}"
        document = parse_json(data, what)
        if not isinstance(document, dict):
            raise ImageError(f"{what} is not a JSON object", place=place)
        if not _is_index(document):
            return digest
        requested = _choose(converted(document, IndexDocument, what), remote, place)
    place = remote.at(remote.digest)
    raise ImageError(
        f"{place} is an index of indexes that are nested too deeply: more than"
        f" {_MOST_NESTED} levels",
        place=place,
    )


def _is_index(document: dict[str, Any]) -> bool:
    # The image-spec does not require a media type in an index.
    if "mediaType" not in document:
        return "manifests" in document
    return document["mediaType"] in INDEX_MEDIA_TYPES


def _choose(index: IndexDocument, remote: Remote, place: str) -> str:
    """Return the digest of the first entry for the platform with the most preferred variant.

    The choice does not depend on the machine that this runs on.
    """
    platforms = [
        (platform, entry.digest)
        for entry in index.manifests
        if (platform := entry.platform) is not None
    ]
    digests: dict[str, str] = {}
    for platform, digest in platforms:
        if (platform.os, platform.architecture) == (remote.os, remote.architecture):
            digests.setdefault(platform.variant or "", digest)
    for variant in preferred_variants(remote.architecture, remote.variant):
        if variant in digests:
            return check_digest(digests[variant])
    if digests and not remote.variant:
        return check_digest(next(iter(digests.values())))
    existing = ", ".join(sorted({shown(_platform(platform)) for platform, _ in platforms}))
    raise InputError(
        f"{place} has no image for {remote.platform}; specify --os, --arch and --variant of an"
        f" image that it has: {existing or 'none has a platform'}",
        place=place,
    )


def _platform(platform: PlatformDocument) -> str:
    return "/".join(filter(None, (platform.os, platform.architecture, platform.variant)))


def _manifest_digest(remote: Remote, data: bytes, temporary: Path) -> str:
    # It is not always the hash of all bytes: manifests of schema 1 contain signatures.
    file = temporary / "manifest"
    file.write_bytes(data)
    return _skopeo(remote, "manifest-digest", str(file), temporary=temporary).decode().strip()


def _skopeo(remote: Remote, command: str, *args: str, temporary: Path) -> bytes:
    platform = [f"--override-os={remote.os}", f"--override-arch={remote.architecture}"]
    if remote.variant:
        platform.append(f"--override-variant={remote.variant}")
    argv = ["skopeo", "--insecure-policy", f"--tmpdir={temporary}", *platform, command, *args]
    try:
        return _run(argv, ImageError, f"skopeo can't read {remote.at(remote.digest)}")
    except ImageError as error:
        if remote.tls_verify and any(text in str(error) for text in _UNVERIFIED):
            hint = "--no-tls-verify accepts plain HTTP and any certificate"
            raise ImageError(f"{error}; {hint}", place=remote.at(remote.digest)) from None
        raise


def _add_to_store(file: Path, algorithm: str) -> str:
    argv = ["nix-store", "--add-fixed", algorithm, str(file)]
    return _run(argv, OutputError, "can't add the image to the Nix store").decode().strip()


def _run(argv: Sequence[str], error: type[NixdockError], what: str) -> bytes:
    result = run_command(argv)
    if result.status:
        last_line = result.reason().splitlines()[-1]
        raise error(f"{what}: {shown(_message(last_line), 1000)}")
    return result.output


def _message(line: str) -> str:
    """Return what a line of skopeo's log says, without the time and the quotes around it."""
    found = _LOG_LINE.fullmatch(line)
    if found is None:
        return line
    try:
        return str(orjson.loads(found[1]))
    except orjson.JSONDecodeError:
        # Go's quoted texts may have escapes that JSON does not know.
        return found[1]
