"""Fetching an image of a registry into the Nix store, for the `pullImage` of the library.

The digest of a name is that of what it names when it is asked for. Where this is an index, whose
images are for several platforms, the digest is changed for that of the one platform's image: it
alone then says what is fetched, on every machine and without naming the platform again.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from nixdock.errors import ImageError, InputError, NixdockError, OutputError
from nixdock.nix.hashes import Hash
from nixdock.oci.digests import check_digest
from nixdock.oci.documents import IndexDocument, PlatformDocument
from nixdock.oci.media_types import INDEX_MEDIA_TYPES
from nixdock.oci.untrusted_json import converted, parse_json
from nixdock.system.commands import run_command
from nixdock.system.text import shown

__all__ = ["Prefetched", "Remote", "prefetch"]

# What an image for an architecture runs on when neither it nor the user says more.
_USUAL_VARIANTS: Final = {"arm64": "v8", "arm": "v7"}
_MOST_NESTED: Final = 4


@dataclass(frozen=True, slots=True)
class Remote:
    """An image in a registry: what its `tag` or `digest` names, for one platform."""

    name: str
    tag: str = "latest"
    digest: str | None = None
    os: str = "linux"
    architecture: str = "amd64"
    variant: str = ""
    tls_verify: bool = True

    def at(self, digest: str | None) -> str:
        """Return how skopeo calls the manifest of that digest, or of the tag."""
        return f"docker://{self.name}" + (f"@{digest}" if digest else f":{self.tag}")

    @property
    def platform(self) -> str:
        """The platform, for people."""
        return "/".join(filter(None, (self.os, self.architecture, self.variant)))


@dataclass(frozen=True, slots=True)
class Prefetched:
    """An image that is in the store at `path`, and what `pullImage` needs to know of it."""

    name: str
    digest: str
    hash: Hash
    final_name: str
    final_tag: str
    path: str
    tls_verify: bool = True

    def arguments(self) -> dict[str, str | bool]:
        """Return the arguments of `pullImage`, by their names."""
        return {
            "imageName": self.name,
            "imageDigest": self.digest,
            "hash": self.hash.sri,
            "finalImageName": self.final_name,
            "finalImageTag": self.final_tag,
        } | ({} if self.tls_verify else {"tlsVerify": False})

    def to_json(self) -> str:
        """Return the arguments as a JSON object."""
        return json.dumps(self.arguments(), indent=2)

    def to_nix(self) -> str:
        """Return the arguments as a Nix attribute set."""
        lines = (f"  {key} = {_nix(value)};\n" for key, value in self.arguments().items())
        return f"{{\n{''.join(lines)}}}"


def _nix(value: str | bool) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    # JSON's escapes are Nix's, but for the one that it does not know.
    return json.dumps(value, ensure_ascii=False).replace("${", "\\${")


def prefetch(
    remote: Remote, final_name: str = "", final_tag: str = "", algorithm: str = "sha256"
) -> Prefetched:
    """Fetch `remote` and add it to the store; raise NixdockError where that fails.

    It gets the file name and the bytes of the library's `pullImage`, which finds it in the store.
    """
    final_name = final_name or remote.name
    final_tag = final_tag or remote.tag
    with tempfile.TemporaryDirectory(prefix="nixdock-") as temporary:
        directory = Path(temporary)
        digest = resolve(remote, directory)
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
            hashed = Hash(algorithm, hashlib.file_digest(stream, algorithm).digest())
        path = _add_to_store(file, algorithm)
    return Prefetched(
        name=remote.name,
        digest=digest,
        hash=hashed,
        final_name=final_name,
        final_tag=final_tag,
        path=path,
        tls_verify=remote.tls_verify,
    )


def resolve(remote: Remote, temporary: Path) -> str:
    """Return the digest of the manifest of the image for the platform that is asked for."""
    asked = remote.digest
    for _ in range(_MOST_NESTED):
        raw = _skopeo(
            remote,
            "inspect",
            f"--tls-verify={str(remote.tls_verify).lower()}",
            "--raw",
            remote.at(asked),
            temporary=temporary,
        )
        digest = asked or _digest_of(remote, raw, temporary)
        where = remote.at(digest)
        what = f"the manifest of {where}"
        document = parse_json(raw, what)
        if not _is_index(document, what):
            return digest
        asked = _choose(converted(document, IndexDocument, what), remote, where)
    raise ImageError(f"{remote.at(remote.digest)} is an index of indexes, nested too deeply")


def _is_index(document: Any, what: str) -> bool:
    if not isinstance(document, dict):
        raise ImageError(f"{what} is not a JSON object")
    # A media type is not required of an OCI index.
    return document.get("mediaType") in INDEX_MEDIA_TYPES or (
        "mediaType" not in document and "manifests" in document
    )


def _choose(index: IndexDocument, remote: Remote, where: str) -> str:
    """Return the digest of the entry for the platform: the first of the best.

    Without a variant asked for, the best is an entry without one, then one of the variant that
    the architecture's machines usually are. The machine that this runs on does not matter.
    """
    fitting = [
        (platform.variant or "", entry.digest)
        for entry in index.manifests
        if (platform := entry.platform) is not None
        and (platform.os, platform.architecture) == (remote.os, remote.architecture)
    ]
    usual = _USUAL_VARIANTS.get(remote.architecture, "")
    if remote.variant:
        ranks = [remote.variant] + [""] * (remote.variant == usual)
        fitting = [entry for entry in fitting if entry[0] in ranks]
    else:
        ranks = ["", usual]
    if not fitting:
        there = ", ".join(
            sorted({shown(_platform(p)) for entry in index.manifests if (p := entry.platform)})
        )
        raise InputError(
            f"{where} has no image for {remote.platform}; give --os, --arch and --variant of one"
            f" that it has: {there or 'none with a platform'}"
        )
    best = min(
        fitting, key=lambda entry: ranks.index(entry[0]) if entry[0] in ranks else len(ranks)
    )
    return check_digest(best[1])


def _platform(platform: PlatformDocument) -> str:
    return "/".join(filter(None, (platform.os, platform.architecture, platform.variant)))


def _digest_of(remote: Remote, raw: bytes, temporary: Path) -> str:
    # Not always the hash of all bytes: the oldest manifests contain signatures.
    file = temporary / "manifest"
    file.write_bytes(raw)
    return _skopeo(remote, "manifest-digest", str(file), temporary=temporary).decode().strip()


def _skopeo(remote: Remote, command: str, *args: str, temporary: Path) -> bytes:
    platform = [f"--override-os={remote.os}", f"--override-arch={remote.architecture}"]
    if remote.variant:
        platform.append(f"--override-variant={remote.variant}")
    argv = ["skopeo", "--insecure-policy", f"--tmpdir={temporary}", *platform, command, *args]
    return _run(argv, ImageError, f"skopeo can't read {remote.at(remote.digest)}")


def _add_to_store(file: Path, algorithm: str) -> str:
    argv = ["nix-store", "--add-fixed", algorithm, str(file)]
    return _run(argv, OutputError, "the image can't be added to the Nix store").decode().strip()


def _run(argv: Sequence[str], error: type[NixdockError], what: str) -> bytes:
    done = run_command(argv)
    if done.status:
        last = done.reason().splitlines()[-1]
        raise error(f"{what}: {shown(last, 1000)}")
    return done.output
