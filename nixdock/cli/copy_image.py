"""`nixdock copy`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from nixdock import Format, Pushing, build_image, copy_image, push_image
from nixdock.cli.access import access_options
from nixdock.cli.build_result import BuildResult
from nixdock.cli.copy_report import copied_lines, copy_options
from nixdock.cli.loading import load_source
from nixdock.cli.location import named_location
from nixdock.cli.options import COMPRESSION, SOURCE, overridden, quiet_option
from nixdock.cli.output import is_standard_output, standard_output
from nixdock.cli.path_types import Destination
from nixdock.cli.progress import packing_progress, reading_progress
from nixdock.cli.source import read_source
from nixdock.errors import InputError
from nixdock.oci.location import FileLocation, parse_destination
from nixdock.oci.registry_reference import RegistryReference, check_no_password
from nixdock.spec.annotations import with_own_annotations
from nixdock.spec.times import source_date_epoch
from nixdock.system.json_text import json_text
from nixdock.system.presence import exists, is_directory

if TYPE_CHECKING:
    from nixdock import Access, Compression, ImageSpec

__all__ = ["command"]

_DAEMON: Final = "docker-daemon:"


_EXAMPLES: Final = """\b
Examples:
  nixdock copy docker://ghcr.io/me/hello:v1 docker://registry.example/hello:v1
  nixdock copy hello.tar docker://ghcr.io/me/hello:v2 --referrers
  nixdock copy docker://debian:12 oci:images:debian --all-platforms
"""


@click.command("copy", epilog=_EXAMPLES)
@click.argument("source", type=SOURCE)
@click.argument("destination", type=Destination())
@click.option(
    "--compression",
    type=COMPRESSION,
    help="Compression of the layers of a spec, gzip by default. A docker-archive and the daemon get"
    " them uncompressed.",
)
@copy_options
@access_options
@quiet_option
def command(
    source: str,
    destination: str,
    compression: Compression | None,
    platform: str | None,
    access: Access | None,
    *,
    all_platforms: bool,
    referrers: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Copy an image from SOURCE to DESTINATION and print its digest there.

    Each is docker://REFERENCE, oci:DIRECTORY[:TAG], oci-archive:FILE[:TAG],
    docker-archive:FILE[:REFERENCE], or a path; SOURCE may also be a spec, from which the image is
    built on its way. Manifests stay as they are. What DESTINATION has already is not sent; blobs in
    another repository of the same registry are mounted, and others go from registry to registry
    without touching the disk. An OCI layout keeps all else that it has, unless the image is built:
    then the layout is replaced. If the image goes to standard output, the digest goes to standard
    error. To docker-daemon:NAME:TAG, an image goes as `nixdock load` brings it there.
    """
    if destination.startswith(_DAEMON):
        # As skopeo names images in the Docker daemon.
        if platform is not None or all_platforms:
            raise click.UsageError("an image is loaded as it is: --platform is not for the daemon")
        if referrers:
            raise click.UsageError("the daemon keeps no referrers")
        _load(source, destination.removeprefix(_DAEMON), access, as_json=as_json, quiet=quiet)
        return
    image = read_source(source)
    match parse_destination(destination):
        case FileLocation(path, None) if ":" in destination and not exists(path):
            # The name of a file may have @, but hardly what may be a user and a password.
            check_no_password(destination)
    _check_directory(destination)
    if not isinstance(image, str):
        if platform is not None or all_platforms:
            raise click.UsageError("a spec is for one platform, which it states itself")
        if referrers:
            raise click.UsageError("nothing is attached to an image that is being built")
        _build(image, destination, compression, access, as_json=as_json, quiet=quiet)
        return
    if compression is not None:
        raise click.UsageError("an image that exists stays as it is: --compression is for a spec")
    binary = _is_standard_output(destination)
    if binary:
        standard_output("name a file, or use a pipe")
    with reading_progress(quiet=quiet) as progress:
        result = copy_image(
            source,
            destination,
            platform=platform,
            all_platforms=all_platforms,
            referrers=referrers,
            access=access,
            mtime=source_date_epoch(),
            progress=progress,
        )
    for line in () if quiet else copied_lines(result):
        click.echo(line, err=True)
    text = json_text(result.document()) if as_json else f"{result.digest_reference}\n"
    click.echo(text, nl=False, err=binary)


def _check_directory(destination: str) -> None:
    """Raise InputError if there is no directory for a file that may be meant for a registry."""
    match parse_destination(destination):
        case FileLocation(path, None) if not exists(path.parent):
            if isinstance(named_location(destination), RegistryReference):
                raise InputError(
                    f"there is no directory {path.parent}; if {destination} is an image in a"
                    f" registry, write docker://{destination}",
                    path=path.parent,
                )


def _build(
    spec: ImageSpec,
    destination: str,
    compression: Compression | None,
    access: Access | None,
    *,
    as_json: bool,
    quiet: bool,
) -> None:
    """Build the image that a spec describes where it is to be."""
    with packing_progress(quiet=quiet) as progress:
        match parse_destination(destination):
            case RegistryReference() as reference:
                options = None if compression is None else Pushing(compression)
                pushed = push_image(
                    spec, [str(reference)], options, access=access, progress=progress
                )
                document, digest = pushed.document(), pushed.references[0]
            case FileLocation(path, form, name):
                # The image is the same at every destination, whatever its name is there.
                spec = overridden(with_own_annotations(spec), None, [name] if name else [])
                chosen = form or (Format.OCI_LAYOUT if is_directory(path) else Format.ARCHIVE)
                if chosen is Format.DOCKER_ARCHIVE:
                    # It would be compressed as a whole.
                    compression = None
                built = build_image(
                    spec,
                    path,
                    form=chosen,
                    compression=compression,
                    access=access,
                    progress=progress,
                )
                result = BuildResult(built, chosen, path)
                document, digest = result.document(), result.digest
    text = json_text(document) if as_json else f"{digest}\n"
    click.echo(text, nl=False, err=_is_standard_output(destination))


def _load(source: str, name: str, access: Access | None, *, as_json: bool, quiet: bool) -> None:
    """Bring an image into the Docker daemon."""
    loaded = load_source(
        source, "docker", [name], access=access, confinement=None, use_cache=True, quiet=quiet
    )
    text = json_text(loaded.document()) if as_json else f"{loaded.digest}\n"
    click.echo(text, nl=False)


def _is_standard_output(destination: str) -> bool:
    match parse_destination(destination):
        case FileLocation(path):
            return is_standard_output(path)
    return False
