"""`nixdock demo`."""

from __future__ import annotations

from pathlib import Path

import click

from nixdock import Format, NixdockError, build_image, inspect_image
from nixdock.cli.build_result import BuildResult
from nixdock.cli.layer_table import layer_table
from nixdock.cli.options import FILE, format_option
from nixdock.demo import ARCHITECTURES, native_architecture, unpacked_closure
from nixdock.demo.engine import available_engines

__all__ = ["command"]


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
    result = BuildResult(image, chosen, target)
    click.echo(_summary(result))
    click.echo()
    click.echo(_instructions(result))
    if run or (run is None and architecture == native):
        _run(target, chosen, asked=bool(run))


def _table(target: Path) -> str:
    """Return a table of the layers in the image at `target`, and of their store paths."""
    (image,) = inspect_image(target).images
    return "\n".join(layer_table(image.layers))


def _summary(result: BuildResult) -> str:
    # A docker-archive has no OCI manifest.
    name = "config" if result.form is Format.DOCKER_ARCHIVE else "manifest"
    image = f"{result.image.reference} ({result.platform})"
    return f"image     {image}, as {result.form} in {result.target}\n{name:<9} {result.digest}"


def _instructions(result: BuildResult) -> str:
    name = result.image.reference.repository
    # Without the option, skopeo may compress the layers again, and then the digest is another one.
    preserve = "" if result.form is Format.DOCKER_ARCHIVE else "--preserve-digests "
    return "\n".join(
        [
            "To load and run it, or to push it:",
            f"  {result.load_command('docker')} && docker run --rm {name}",
            f"  {result.load_command('podman')} && podman run --rm {name}",
            f"  skopeo copy {preserve}{result.skopeo_name} docker://REGISTRY/{name}",
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
