"""`nixdock verify`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click
import msgspec

from nixdock import ImageError, verify_attestation, verify_image, verify_signature
from nixdock.cli.access import access_options
from nixdock.cli.attaching import platform_of_index_option
from nixdock.cli.location import LOCATION
from nixdock.cli.options import FILE, quiet_option
from nixdock.cli.output import size_text
from nixdock.cli.progress import reading_progress
from nixdock.oci.location import location_text
from nixdock.oci.registry_reference import RegistryReference
from nixdock.system.json_text import printable_json
from nixdock.system.text import counted
from nixdock.system.writers import descriptor_of

if TYPE_CHECKING:
    from pathlib import Path

    from nixdock import Access
    from nixdock.oci.location import Location

__all__ = ["command"]


_EXAMPLES: Final = """\b
Examples:
  nixdock verify hello.tar
  nixdock verify ghcr.io/me/hello:v1 --strict
  nixdock verify ghcr.io/me/hello:v1 --signature --key app.pub
"""


def _is_stream(file: Path) -> bool:
    """Tell whether a file has no content any more once it has been read."""
    return str(file) == "-" or descriptor_of(file) is not None or file.is_fifo()


@click.command("verify", epilog=_EXAMPLES)
@click.argument("image", type=LOCATION)
@click.option("--strict", is_flag=True, help="Let warnings be problems, too.")
@click.option(
    "--signature",
    is_flag=True,
    help="Check only that the key has signed the image; read none of its layers.",
)
@click.option(
    "--attestation",
    metavar="TYPE",
    help="Print the statements of this type that the key has signed, such as spdx, cyclonedx,"
    " provenance or a URI; fail if there are none.",
)
@click.option("--key", type=FILE, metavar="FILE", help="Public key, as cosign makes it, in PEM.")
@platform_of_index_option
@access_options
@quiet_option
def command(
    image: Location,
    *,
    strict: bool,
    signature: bool,
    attestation: str | None,
    key: Path | None,
    platform: str | None,
    access: Access | None,
    quiet: bool,
) -> None:
    """Check every digest, size and count in IMAGE, and that its layers can be unpacked.

    IMAGE is docker://REFERENCE, where docker:// may be left out, or an archive or directory in any
    format that nixdock writes or that Docker, Podman or skopeo save. Each problem is printed on a
    line, as PLACE: MESSAGE, and so are warnings, as PLACE: warning: MESSAGE: some runtimes refuse
    what others take, or the image departs from the specifications in a way that all of them accept.

    With --signature or --attestation, only signatures are checked. The digest that is signed is
    printed; the manifest with that digest names all layers by theirs, so that whoever reads them by
    the digest gets what was signed.
    """
    if signature or attestation is not None:
        if strict:
            raise click.UsageError("--strict is for the image itself, not for its signatures")
        if key is None:
            raise click.UsageError("--signature and --attestation need --key")
        if signature and attestation is not None and _is_stream(key):
            raise click.UsageError(
                "--signature and --attestation read the key twice, so --key must be a file, and not"
                " standard input or a pipe"
            )
        if signature:
            signed = verify_signature(image, key, platform=platform, access=access)
            click.echo(
                f"ok: {signed.text} is signed with the key in {key} ({', '.join(signed.forms)})",
                err=attestation is not None,
            )
            if isinstance(image, RegistryReference):
                # Not what a tag may stand for meanwhile.
                image, platform = RegistryReference.parse(signed.place), None
        if attestation is not None:
            for statement in verify_attestation(
                image, key, attestation, platform=platform, access=access
            ):
                # A statement keeps the bytes that were signed, which may have line ends.
                click.echo(printable_json(msgspec.json.format(statement, indent=-1)))
        return
    if key is not None or platform is not None:
        raise click.UsageError("--key and --platform are for --signature or --attestation")
    with reading_progress(quiet=quiet) as progress:
        result = verify_image(image, strict=strict, progress=progress, access=access)
    for problem in (*result.problems, *result.warnings):
        click.echo(str(problem))
    if result.problems:
        place = location_text(image)
        raise ImageError(f"{counted(len(result.problems), 'problem')} in {place}", path=place)
    counts = [counted(result.images, "image"), counted(result.layers, "layer")]
    click.echo(f"ok: {result.format}, {', '.join(counts)}, {size_text(result.size)}")
