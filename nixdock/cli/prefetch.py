"""`nixdock prefetch`."""

from __future__ import annotations

import os
from typing import Final

import click

from nixdock import ImageError, InputError, Remote, prefetch_image
from nixdock.oci.digests import check_digest

__all__ = ["command"]

_ALGORITHMS: Final = ("sha256", "sha512")


_EXAMPLES: Final = """\b
Examples:
  nixdock prefetch debian 12
  nixdock prefetch --image-name ghcr.io/me/base --image-tag v1 --arch arm64
"""


@click.command("prefetch", epilog=_EXAMPLES)
@click.argument("name", metavar="[IMAGE_NAME]", required=False)
@click.argument("version", metavar="[IMAGE_TAG|IMAGE_DIGEST]", required=False)
@click.option("--os", "system", default="linux", show_default=True, help="Operating system.")
@click.option("--arch", default="amd64", show_default=True, help="Architecture, as Go names it.")
@click.option("--variant", default="", help="Variant of the architecture, for example v7.")
@click.option(
    "--image-name", help="Name of the image in its registry, optionally with :TAG or @DIGEST."
)
@click.option(
    "--image-tag", help="Tag of the image in its registry.  [default: latest, without a digest]"
)
@click.option(
    "--image-digest", help="Digest of the image in its registry, or of an index that contains it."
)
@click.option(
    "--final-image-name",
    default="",
    help="Name that the image gets.  [default: its name in the registry]",
)
@click.option(
    "--final-image-tag", default="", help="Tag that the image gets.  [default: its tag, or latest]"
)
@click.option(
    "--tls-verify/--no-tls-verify", default=True, help="Require HTTPS and a valid certificate."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of Nix.")
@click.option("--quiet", is_flag=True, help="Print only the result.")
def command(
    name: str | None,
    version: str | None,
    *,
    tls_verify: bool,
    as_json: bool,
    quiet: bool,
    **options: str | None,
) -> None:
    """Fetch an image from a registry into the Nix store, and print the arguments of pullImage.

    If a tag or digest names an index, the printed digest is that of the index's image for the
    platform. NIX_HASH_ALGO is the algorithm of the printed hash, sha256 by default.
    """
    algorithm = os.environ.get("NIX_HASH_ALGO") or _ALGORITHMS[0]
    if algorithm not in _ALGORITHMS:
        raise InputError(f"NIX_HASH_ALGO is {algorithm!r}: expected {' or '.join(_ALGORITHMS)}")
    is_digest = version is not None and "sha256" in version
    image, tag, digest = _name_parts(_agreed("names", options["image_name"], name) or "")
    tag = _agreed("tags", options["image_tag"], None if is_digest else version, tag)
    digest = _agreed("digests", options["image_digest"], version if is_digest else None, digest)
    remote = Remote(
        name=image,
        tag=tag or "latest",
        digest=_checked_digest(digest),
        os=options["system"] or "",
        architecture=options["arch"] or "",
        variant=options["variant"] or "",
        tls_verify=tls_verify,
    )
    result = prefetch_image(
        remote,
        final_name=options["final_image_name"] or "",
        final_tag=options["final_image_tag"] or "",
        algorithm=algorithm,
    )
    if not quiet:
        for key, value in (
            ("ImageName", result.name),
            ("ImageDigest", result.digest),
            ("FinalImageName", result.final_name),
            ("FinalImageTag", result.final_tag),
            ("ImagePath", result.path),
            ("ImageHash", result.hash.sri),
        ):
            click.echo(f"-> {key}: {value}", err=True)
    click.echo(result.to_json() if as_json else result.to_nix())


def _name_parts(text: str) -> tuple[str, str | None, str | None]:
    """Split NAME[:TAG][@DIGEST]."""
    rest, _, digest = text.partition("@")
    name, separator, tag = rest.rpartition(":")
    if not separator or "/" in tag:
        name, tag = rest, ""
    if not name:
        raise InputError("no image is given; name one, for example nixos/nix")
    return name, tag or None, digest or None


def _agreed(nouns: str, *values: str | None) -> str | None:
    """Return the value that is given, if any; raise InputError if two values differ."""
    distinct = list(dict.fromkeys(value for value in values if value is not None))
    if len(distinct) > 1:
        first, second = distinct[:2]
        raise InputError(f"two {nouns} are given, {first!r} and {second!r}; give one")
    return distinct[0] if distinct else None


def _checked_digest(digest: str | None) -> str | None:
    try:
        return digest and check_digest(digest)
    except ImageError as error:
        raise InputError(str(error), digest=digest) from None
