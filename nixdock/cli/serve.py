"""`nixdock serve`."""

from __future__ import annotations

import gc
import math
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

import click

from nixdock.cli.access import access_options
from nixdock.cli.options import COMPRESSION, FILE, SOURCE, confinement_options, quiet_option
from nixdock.cli.output import size_text
from nixdock.cli.progress import packing_progress
from nixdock.cli.source import read_source
from nixdock.cli.stores import ChosenStores, realise_option, store_options
from nixdock.system.text import counted

if TYPE_CHECKING:
    from pathlib import Path

    from nixdock import Access, Compression

__all__ = ["command"]

_EXAMPLES: Final = """\b
Examples:
  nixdock serve hello.json
  nixdock serve hello.json oci:layout:v1 --listen 127.0.0.1:5000 --until-idle 60
  nixdock serve images/ --listen 0.0.0.0:5000 --tls-cert cert.pem --tls-key key.pem
"""
# A hundred years: the functions of the system that wait take no more than a few times as much.
_MOST_SECONDS: Final = 100 * 365 * 24 * 3600


class _Seconds(click.ParamType):  # type: ignore[type-arg]
    """A time to wait."""

    name = "seconds"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number; raise BadParameter if `value` is none, or not a time to wait."""
        try:
            seconds = float(value)
        except ValueError:
            seconds = math.nan
        # It is also false for what is not a number.
        if not 0 < seconds <= _MOST_SECONDS:
            self.fail(
                f"{value!r} is not a time; expected a number of seconds above 0, and at most"
                f" {_MOST_SECONDS}, which is a hundred years",
                param,
                ctx,
            )
        return seconds


_SECONDS: Final = _Seconds()


@click.command("serve", epilog=_EXAMPLES)
@click.argument("sources", nargs=-1, type=SOURCE, required=True, metavar="SOURCE...")
@click.option(
    "--listen",
    metavar="HOST:PORT|unix:PATH",
    default="127.0.0.1:0",
    help="Where to listen.  [default: on a free port, for this machine only]",
)
@click.option(
    "--tls-cert", type=FILE, metavar="FILE", help="Certificate of the server, for HTTPS, in PEM."
)
@click.option("--tls-key", type=FILE, metavar="FILE", help="The certificate's key, in PEM.")
@click.option(
    "--htpasswd",
    type=FILE,
    metavar="FILE",
    help="Users who may read the images, as `htpasswd -B` writes them.",
)
@click.option("--for", "seconds", type=_SECONDS, metavar="SECONDS", help="End after that time.")
@click.option(
    "--until-idle",
    "idle",
    type=_SECONDS,
    metavar="SECONDS",
    help="End when nobody has asked for anything for that time.",
)
@click.option(
    "--compression",
    type=COMPRESSION,
    default="gzip",
    show_default=True,
    help="Compression of new layers.",
)
@click.option("--no-cache", is_flag=True, help="Do not use the cache of layers that are known.")
@store_options
@realise_option
@confinement_options
@access_options
@quiet_option
def command(
    sources: tuple[str, ...],
    listen: str,
    tls_cert: Path | None,
    tls_key: Path | None,
    htpasswd: Path | None,
    seconds: float | None,
    idle: float | None,
    compression: Compression,
    confinement: str | None,
    access: Access | None,
    chosen: ChosenStores,
    *,
    no_cache: bool,
    quiet: bool,
) -> None:
    """Serve each SOURCE, to be pulled with the references that are printed, until interrupted.

    SOURCE is a spec, the location of images, or a directory of image files. Layers that are known
    are packed when somebody asks for them, and the others at once; who asks for their image
    meanwhile waits. Digests are those that `nixdock build` and `push` give. Nobody can push to this
    registry.
    """
    # Slow to load, and not needed to show the help.
    from nixdock import Listening, serve_images

    # What comes with requests may have cycles, and this process may live for long.
    gc.enable()
    images = chosen.applied_to_all([*map(read_source, sources)], access)
    with ExitStack() as stack:
        # The bar ends when all is packed, which may be long before the server does.
        bar = stack.enter_context(ExitStack())
        server = stack.enter_context(
            serve_images(
                images,
                listen=Listening(listen, tls_cert, tls_key, htpasswd),
                compression=compression,
                use_cache=not no_cache,
                access=access,
                progress=bar.enter_context(packing_progress(quiet=quiet)),
                confinement=confinement or "required",
            )
        )
        try:
            # Who reads them may end the server at once.
            for reference in server.references:
                click.echo(reference)
            begun = time.monotonic()
            server.settle(seconds)
            bar.close()
            left = None if seconds is None else seconds - (time.monotonic() - begun)
            server.wait(seconds=left, idle=idle)
        except KeyboardInterrupt:
            # That is how people end a server.
            click.echo(err=True)
    if not quiet:
        blobs = server.tally.blobs
        text = f"served {counted(len(blobs), 'blob')}, {size_text(sum(blobs.values()))}"
        click.echo(text, err=True)
