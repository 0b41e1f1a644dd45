"""`nixdock demo`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Final

import click

from nixdock import Format, Image, NixdockError, build_image, inspect_image
from nixdock.cli.layer_table import layer_table
from nixdock.cli.options import FILE, format_option
from nixdock.demo import ARCHITECTURES, native_architecture, unpacked_closure
from nixdock.demo.engine import available_engines

__all__ = ["command"]

_TRANSPORTS: Final = {
    Format.ARCHIVE: "oci-archive",
    Format.DOCKER_ARCHIVE: "docker-archive",
    Format.OCI_ARCHIVE: "oci-archive",
    Format.OCI_LAYOUT: "oci",
}


@click.command("demo")
@click.option(
    "-o",
    "--output",
    "target",
    type=FILE,
    help="File or directory to write.  [default: demo.tar, or demo.oci for an oci-layout]",
)
@format_option
@click.option(
    "--arch",
    "architecture",
    type=click.Choice(ARCHITECTURES),
    help="Architecture of the image.  [default: that of this machine]",
)
@click.option(
    "--run/--no-run",
    default=None,
    help="Run the image, too.  [default: if Docker or Podman is running]",
)
def command(target: Path | None, form: str, architecture: str | None, *, run: bool | None) -> None:
    """Build an image from the small closure that comes with nixdock.

    This command needs no Nix, Docker, root or network: the closure was built in advance.
    """
    chosen = Format(form)
    native = native_architecture()
    architecture = architecture or native
    if target is None:
        target = Path("demo.oci" if chosen is Format.OCI_LAYOUT else "demo.tar")
    with unpacked_closure(architecture) as closure:
        image = build_image(closure.spec(), target, form=chosen)
    click.echo(_table(target))
    click.echo()
    click.echo(_summary(image, target, chosen))
    click.echo()
    click.echo(_instructions(image, target, chosen))
    if run or (run is None and architecture == native):
        _run(target, chosen, asked=bool(run))


def _table(target: Path) -> str:
    """Return a table of the layers in the image at `target`, and of their store paths."""
    (image,) = inspect_image(target).images
    return "\n".join(layer_table(image.layers))


def _summary(image: Image, target: Path, form: Format) -> str:
    platform = f"linux/{image.platform.architecture}"
    # A docker-archive has no OCI manifest.
    docker_only = form is Format.DOCKER_ARCHIVE
    name, blob = ("config", image.config) if docker_only else ("manifest", image.manifest)
    return (
        f"image     {image.reference} ({platform}), as {form} in {target}\n{name:<9} {blob.digest}"
    )


def _instructions(image: Image, target: Path, form: Format) -> str:
    name = image.reference.repository
    file = shlex.quote(str(target))
    here = f"{_TRANSPORTS[form]}:{file}"
    docker = f"docker load < {file}"
    podman = f"podman load < {file}"
    if form in {Format.OCI_ARCHIVE, Format.OCI_LAYOUT}:
        docker = f"skopeo copy {here} docker-daemon:{image.reference}"
    if form is Format.OCI_LAYOUT:
        podman = f"skopeo copy {here} containers-storage:{image.reference}"
    # Without the option, skopeo may compress the layers again, and then the digest is another one.
    preserve = "" if form is Format.DOCKER_ARCHIVE else "--preserve-digests "
    return "\n".join(
        [
            "To load and run it, or to push it:",
            f"  {docker} && docker run --rm {name}",
            f"  {podman} && podman run --rm {name}",
            f"  skopeo copy {preserve}{here} docker://REGISTRY/{name}",
        ]
    )


def _run(target: Path, form: Format, *, asked: bool) -> None:
    """Run the image with the first engine that can.

    A failure is only noted: the image is built.
    """
    any_engine = False
    for engine in available_engines(form):
        any_engine = True
        try:
            output = engine.run(target)
        except NixdockError as error:
            click.echo(f"\nnote: {error}")
        else:
            click.echo(f"\nFrom {engine.name} run:\n\n{output}", nl=False)
            return
    if asked and not any_engine:
        click.echo(f"\nnote: not run: no engine that can load the format {form} is running")
