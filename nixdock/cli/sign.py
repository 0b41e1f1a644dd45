"""`nixdock sign`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from nixdock import attest_image, sign_image
from nixdock.cli.access import access_options
from nixdock.cli.attaching import platform_of_index_option
from nixdock.cli.location import LOCATION
from nixdock.cli.options import FILE_OR_STDIN, quiet_option
from nixdock.cli.signing_key import asked_password, signing_key_option

if TYPE_CHECKING:
    from nixdock import Access, SignedImage
    from nixdock.oci.location import Location

__all__ = ["command"]

_EXAMPLES: Final = """\b
Examples:
  nixdock sign ghcr.io/me/app:v1 --key nixdock.key
  nixdock sign oci:app:v1 --key nixdock.key --attest app.spdx.json --type spdx
"""
_FORMS: Final = ("bundle", "tag")
_NAMES: Final = {
    "bundle": "a Sigstore bundle that refers to it",
    "tag": "a signature in the list of cosign",
}


@click.command("sign", epilog=_EXAMPLES)
@click.argument("location", type=LOCATION)
@signing_key_option
@click.option(
    "--only",
    type=click.Choice(_FORMS),
    help="Add the signature in one form only.  [default: in both]",
)
@click.option("--recursive", is_flag=True, help="Sign the images in an index in a registry, too.")
@click.option(
    "--identity",
    metavar="NAME",
    help="Name that the image has in the signature with a tag.  [default: its repository]",
)
@click.option(
    "--attest",
    type=FILE_OR_STDIN,
    metavar="FILE",
    help="Sign what FILE says of the image: an in-toto statement, or a predicate of --type.",
)
@click.option(
    "--type",
    "kind",
    metavar="TYPE",
    help="Type of the predicate: spdx, cyclonedx, provenance or a URI.",
)
@platform_of_index_option
@access_options
@quiet_option
def command(
    location: Location,
    *,
    key: Path,
    only: str | None,
    recursive: bool,
    identity: str | None,
    attest: Path | None,
    kind: str | None,
    platform: str | None,
    access: Access | None,
    quiet: bool,
) -> None:
    """Sign the image or index at LOCATION with a private key, as cosign does.

    LOCATION is docker://REFERENCE, where docker:// may be left out, or an OCI layout,
    oci:DIRECTORY[:TAG]. What is signed is the digest of the manifest or of the index. The signature
    is added in two forms, unless it is there already: as a Sigstore bundle, which recent tools find
    as a referrer of the image, and in registries also under the tag sha256-DIGEST.sig, where Podman
    and older tools look for it.

    With --attest, a statement about the image is signed instead, such as its bill of materials.
    The reference to the image by its digest is printed.
    """
    if recursive and platform is not None:
        raise click.UsageError("--recursive and --platform are mutually exclusive")
    if attest is None:
        if kind is not None:
            raise click.UsageError("--type is for --attest")
        signed = sign_image(
            location,
            key,
            password=asked_password,
            forms=None if only is None else [only],
            identity=identity,
            recursive=recursive,
            platform=platform,
            access=access,
        )
    else:
        if only is not None or recursive or identity is not None:
            raise click.UsageError("--attest can't be given with --only, --recursive or --identity")
        signed = [
            attest_image(
                location,
                key,
                attest,
                kind,
                password=asked_password,
                platform=platform,
                access=access,
            )
        ]
    for each in signed:
        click.echo(each.place)
        if not quiet:
            click.echo(_report(each), err=True)


def _report(signed: SignedImage) -> str:
    if not signed.added:
        return f"{signed.text} has been signed with this key already"
    added = " and ".join(_NAMES[form] for form in signed.added)
    return f"added {added}" if signed.text == signed.place else f"added {added}: {signed.digest}"
