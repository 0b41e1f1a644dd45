"""`nixdock demo`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Final

import click

from nixdock import Format, NixdockError, build_image, load_image, view_image
from nixdock.cli.build_result import BuildResult
from nixdock.cli.layer_lines import layer_lines
from nixdock.cli.options import OUTPUT_PATH, format_option
from nixdock.cli.screen import standard_screen
from nixdock.demo import ARCHITECTURES, native_architecture, unpacked_closure

__all__ = ["command"]

_RUN_SECONDS: Final = 60


_EXAMPLES: Final = """\b
Examples:
  nixdock demo
  nixdock demo --arch arm64 --format oci-layout
"""


@click.command("demo", epilog=_EXAMPLES)
@click.option(
    "-o",
    "--output",
    "target",
    type=OUTPUT_PATH,
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
    help="Load the image and run it, too.  [default: if Docker or Podman answers]",
)
def command(target: Path | None, form: str, architecture: str | None, *, run: bool | None) -> None:
    """Build an image from the small closure that comes with nixdock, and run it.

    This command needs no Nix, Docker, root or network: the closure was built in advance. The image
    is loaded into Docker or Podman, as by `nixdock load`, and run there if one of them answers.
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
    click.echo(_summary(BuildResult(image, chosen, target)))
    click.echo()
    if run or (run is None and architecture == native):
        click.echo(_ran(target))
    elif run is None:
        click.echo(f"Not run: the image is for {architecture}, and this machine is not.\n")
    click.echo(_next_commands(target))


def _table(target: Path) -> str:
    """Return a table of the layers in the image at `target`."""
    return "\n".join(layer_lines(view_image(target), standard_screen()))


def _summary(result: BuildResult) -> str:
    # A docker-archive has no OCI manifest.
    name = "config" if result.form is Format.DOCKER_ARCHIVE else "manifest"
    image = f"{result.image.reference} ({result.platform})"
    return f"image     {image}, as {result.form} in {result.target}\n{name:<9} {result.digest}"


def _ran(target: Path) -> str:
    """Load the image and run it; return what to say of that.

    A failure is only noted: the image is built.
    """
    # Only for this, and slow to load.
    from nixdock.runtime.running import output_of

    try:
        loaded = load_image(target)
    except NixdockError as error:
        return f"Not run: {_sentence(error)}\n"
    where = f"Loaded into {loaded.runtime} as {loaded.names[0]}"
    try:
        # The demo needs no network.
        output = output_of(loaded, ["--network=none"], timeout=_RUN_SECONDS)
    except NixdockError as error:
        return f"{where}, but not run: {_sentence(error)}\n"
    return f"{where}, and run:\n\n{output}"


def _sentence(error: NixdockError) -> str:
    return f"{str(error).rstrip('.')}."


def _next_commands(target: Path) -> str:
    file = shlex.quote(str(target))
    commands = {
        f"nixdock run {file}": "load what is new, and run it",
        f"nixdock copy {file} docker://REGISTRY/nixdock-demo": "send what the registry lacks",
        "nixdock push SPEC REGISTRY/NAME:TAG": "the same, straight from the store",
        f"nixdock diff {file} SPEC": "what an update transfers, and why",
        f"nixdock inspect {file} --html demo.html": "its layers and paths, as a page",
    }
    width = max(map(len, commands))
    lines = (f"  {command:<{width}}  # {effect}" for command, effect in commands.items())
    title = "What to try next; SPEC is a file that describes an image, see docs/spec.md:"
    return "\n".join([title, *lines])
