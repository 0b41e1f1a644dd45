"""`nixdock prefetch`."""

from __future__ import annotations

import os

import click

from nixdock.errors import ImageError, InputError
from nixdock.oci.digests import check_digest
from nixdock.registry.prefetch import Remote, prefetch

__all__ = ["command"]

_ALGORITHMS = ("sha256", "sha512")


@click.command("prefetch")
@click.argument("name", metavar="[IMAGE_NAME]", required=False)
@click.argument("version", metavar="[IMAGE_TAG|IMAGE_DIGEST]", required=False)
@click.option("--os", "system", default="linux", show_default=True, help="Operating system.")
@click.option("--arch", default="amd64", show_default=True, help="Architecture, as Go names it.")
@click.option("--variant", default="", help="The architecture's variant, such as v7.")
@click.option(
    "--image-name", help="Name of the image in its registry, perhaps with :TAG or @DIGEST."
)
@click.option("--image-tag", help="Tag of the image there; latest unless there is a digest.")
@click.option("--image-digest", help="Digest of the image there, or of an index it is in.")
@click.option("--final-image-name", default="", help="Name to give it; the same by default.")
@click.option("--final-image-tag", default="", help="Tag to give it; the same, or latest.")
@click.option(
    "--tls-verify/--no-tls-verify", default=True, help="Require HTTPS and a valid certificate."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON rather than Nix.")
@click.option("--quiet", is_flag=True, help="Print the result alone.")
def command(
    name: str | None,
    version: str | None,
    *,
    tls_verify: bool,
    as_json: bool,
    quiet: bool,
    **options: str | None,
) -> None:
    """Fetch an image of a registry into the Nix store, and print the arguments of pullImage.

    A digest of an index, which a tag may stand for as well, is printed as that of its image for
    the platform. NIX_HASH_ALGO is the algorithm of the printed hash, sha256 if unset.
    """
    algorithm = os.environ.get("NIX_HASH_ALGO") or _ALGORITHMS[0]
    if algorithm not in _ALGORITHMS:
        raise InputError(f"NIX_HASH_ALGO is {algorithm!r}: expected {' or '.join(_ALGORITHMS)}")
    is_digest = version is not None and "sha256" in version
    image, tag, digest = _parts(_one(options["image_name"], name, "names") or "")
    tag = _one(_one(options["image_tag"], None if is_digest else version, "tags"), tag, "tags")
    digest = _one(
        _one(options["image_digest"], version if is_digest else None, "digests"), digest, "digests"
    )
    remote = Remote(
        name=image,
        tag=tag or "latest",
        digest=_digest(digest),
        os=options["system"] or "",
        architecture=options["arch"] or "",
        variant=options["variant"] or "",
        tls_verify=tls_verify,
    )
    result = prefetch(
        remote, options["final_image_name"] or "", options["final_image_tag"] or "", algorithm
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


def _parts(text: str) -> tuple[str, str | None, str | None]:
    """Take NAME[:TAG][@DIGEST] apart."""
    rest, _, digest = text.partition("@")
    name, separator, tag = rest.rpartition(":")
    if not separator or "/" in tag:
        name, tag = rest, ""
    if not name:
        raise InputError("no image is given: name one, such as nixos/nix")
    return name, tag or None, digest or None


def _one(option: str | None, argument: str | None, what: str) -> str | None:
    """Return what was given, but not when it was given twice and differently."""
    if option is not None and argument is not None and option != argument:
        raise InputError(f"two {what} are given, {option!r} and {argument!r}: give one")
    return option if argument is None else argument


def _digest(text: str | None) -> str | None:
    try:
        return text and check_digest(text)
    except ImageError as error:
        raise InputError(str(error)) from None
