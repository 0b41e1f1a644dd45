"""`nixdock sign`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from nixdock import attest_image, sign_image
from nixdock.cli.access import access_options
from nixdock.cli.options import FILE_OR_STDIN, quiet_option
from nixdock.cli.signing_key import asked_password, signing_key_option

if TYPE_CHECKING:
    from nixdock import Access, SignedImage

__all__ = ["command"]

_EXAMPLES: Final = """\b
Examples:
  nixdock sign ghcr.io/me/app:v1 --key nixdock.key
  nixdock sign ghcr.io/me/app:v1 --key nixdock.key --attest app.spdx.json --type spdx
"""
_FORMS: Final = ("bundle", "tag")
_NAMES: Final = {
    "bundle": "a Sigstore bundle that refers to it",
    "tag": "a signature in the list of cosign",
}


@click.command("sign", epilog=_EXAMPLES)
@click.argument("reference")
@signing_key_option
@click.option(
    "--only",
    type=click.Choice(_FORMS),
    help="Add the signature in one form only.  [default: in both]",
)
@click.option("--recursive", is_flag=True, help="Sign the images in an index, too.")
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
@access_options
@quiet_option
def command(
    reference: str,
    *,
    key: Path,
    only: str | None,
    recursive: bool,
    identity: str | None,
    attest: Path | None,
    kind: str | None,
    access: Access | None,
    quiet: bool,
) -> None:
    """Sign the image REFERENCE in a registry with a private key, as cosign does.

    What is signed is the digest of the manifest, or of the index. The signature is added in two
    forms, unless it is there already: as a Sigstore bundle, which recent tools find as a referrer
    of the image, and under the tag sha256-DIGEST.sig, where Podman and older tools look for it.

    With --attest, a statement about the image is signed instead, such as its bill of materials.
    REFERENCE by its digest is printed.
    """
    if attest is None:
        if kind is not None:
            raise click.UsageError("--type is for --attest")
        signed = sign_image(
            reference,
            key,
            password=asked_password,
            forms=_FORMS if only is None else (only,),
            identity=identity,
            recursive=recursive,
            access=access,
        )
    else:
        if only is not None or recursive or identity is not None:
            raise click.UsageError("--attest can't be given with --only, --recursive or --identity")
        signed = [
            attest_image(reference, key, attest, kind, password=asked_password, access=access)
        ]
    for each in signed:
        click.echo(each.place.removeprefix("docker://"))
        if not quiet:
            click.echo(_report(each), err=True)


def _report(signed: SignedImage) -> str:
    if not signed.added:
        return f"{signed.place} has been signed with this key already"
    return f"added {' and '.join(_NAMES[form] for form in signed.added)}"
