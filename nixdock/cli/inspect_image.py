"""`nixdock inspect`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import click

from nixdock import Describing, FileReport, inspect_image
from nixdock.cli.access import access_options
from nixdock.cli.layer_table import layer_table
from nixdock.cli.location import LOCATION
from nixdock.cli.options import (
    confinement_options,
    no_cache_option,
    quiet_option,
    reuse_option,
)
from nixdock.cli.output import pretty_json
from nixdock.cli.progress import reading_progress
from nixdock.cli.source import spec_at
from nixdock.cli.stores import ChosenStores, cache_options
from nixdock.system.text import shown

if TYPE_CHECKING:
    from nixdock import Access
    from nixdock.oci.location import Location
    from nixdock.read.report import ImageReport

__all__ = ["command"]

_SHOWN_FIRST: Final = ("Entrypoint", "Cmd", "Env", "WorkingDir", "User")


@click.command("inspect")
@click.argument("source", metavar="IMAGE", type=LOCATION)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--quick", is_flag=True, help="Read no layers: verify nothing, and list no store paths."
)
@click.option(
    "--platform",
    metavar="OS/ARCH[/VARIANT]",
    help="Show only the images for this platform.  [default: all images]",
)
@reuse_option
@cache_options
@no_cache_option
@confinement_options
@access_options
@quiet_option
def command(
    source: Location,
    *,
    reuse: tuple[str, ...],
    chosen: ChosenStores,
    no_cache: bool,
    confinement: str | None,
    as_json: bool,
    quick: bool,
    platform: str | None,
    access: Access | None,
    quiet: bool,
) -> None:
    """Show IMAGE's names and config, and each layer with its store paths.

    IMAGE is docker://REFERENCE, where docker:// may be left out, or an archive or directory in any
    format that nixdock writes or that Docker, Podman or skopeo save. Its layers are read to list
    their store paths, and verified in the process, unless --quick is given.

    Or IMAGE is a spec, which may be resolved, or dockerTools' stream configuration: the archive is
    shown that `nixdock build` would write, but nothing is written, and no file is read of layers
    that are known: from an earlier build or push of this user, or from an image that --reuse or the
    spec's layering.previous names. With --quick, no other layer is read, either, and no script
    runs: digests that are not known are left out, and the store paths that results of scripts may
    add are listed by themselves.
    """
    spec = spec_at(source)
    of_specs = reuse or no_cache or chosen.urls or chosen.keys or confinement is not None
    if spec is None and of_specs:
        raise click.UsageError(
            "--reuse, --no-cache, --store and the options for scripts are for a spec, not for an"
            " image"
        )
    with reading_progress(quiet=quiet) as progress:
        report = inspect_image(
            source if spec is None else spec,
            quick=quick,
            platform=platform,
            progress=progress,
            access=access,
            describing=None
            if spec is None
            else Describing(
                reuse, not no_cache, confinement or "required", chosen.urls, chosen.keys
            ),
        )
    if as_json:
        click.echo(pretty_json(report.document()), nl=False)
    else:
        if not report.images:
            click.echo(f"no image, as {report.format}")
        for number, image_report in enumerate(report.images):
            if number:
                click.echo()
            for line in _lines(report, image_report):
                click.echo(line)


def _lines(report: FileReport, image: ImageReport) -> Iterator[str]:
    platform = "/".join(filter(None, [image.os, image.architecture, image.variant]))
    names = ", ".join(image.tags) or "without a name"
    yield _field("image", f"{names} ({platform}), as {report.format}")
    index = image.index
    if index is not None:
        yield from _annotated("index", index.digest, index.annotations)
    if image.digest:
        yield from _annotated("manifest", image.digest, image.annotations)
    if image.config_digest:
        yield _field("config", image.config_digest)
    if image.created:
        yield _field("created", image.created)
    for key in [*_SHOWN_FIRST, *sorted(image.config.keys() - {*_SHOWN_FIRST})]:
        if value := image.config.get(key):
            yield from _setting(key, value)
    yield ""
    yield from layer_table(image.layers)
    if image.script_paths:
        yield ""
        yield "The scripts have not run. Their results may add store paths:"
        yield from (f"  {shown(path)}" for path in image.script_paths)


def _field(name: str, value: str) -> str:
    return f"{shown(name):<12} {shown(value)}"


def _annotated(name: str, digest: str, annotations: Mapping[str, str]) -> Iterator[str]:
    """Yield a line for a document, and one for each of its annotations."""
    yield _field(name, digest)
    for key, value in annotations.items():
        yield _field("", f"{key}={value}")


def _setting(key: str, value: Any) -> Iterator[str]:
    """Yield a line for each item of a list or object, or one line for anything else."""
    name = key.lower()
    if isinstance(value, dict):
        texts = [f"{k}={v}" if isinstance(v, str) else k for k, v in value.items()]
    elif isinstance(value, list) and key not in {"Entrypoint", "Cmd"}:
        texts = [v if isinstance(v, str) else json.dumps(v) for v in value]
    else:
        # JSON keeps the words of a command apart, which may contain spaces.
        texts = [value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)]
    for text in texts:
        yield _field(name, text)
        name = ""
