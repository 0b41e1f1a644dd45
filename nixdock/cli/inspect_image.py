"""`nixdock inspect`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from nixdock import Describing, FileReport, view_document, view_images
from nixdock.cli.access import access_options
from nixdock.cli.layer_lines import known_size
from nixdock.cli.listed import listed_lines, listed_markdown
from nixdock.cli.location import LOCATION
from nixdock.cli.options import (
    confinement_options,
    no_cache_option,
    quiet_option,
    reuse_option,
)
from nixdock.cli.output import size_text
from nixdock.cli.page_file import write_image_page
from nixdock.cli.path_lines import why_document, why_lines
from nixdock.cli.progress import reading_progress
from nixdock.cli.screen import Screen, standard_screen
from nixdock.cli.source import spec_at
from nixdock.cli.stores import ChosenStores, cache_options
from nixdock.cli.view_options import Listing, graph_file_option, listing_options, read_graph
from nixdock.system.json_text import json_text
from nixdock.system.text import counted, shown

if TYPE_CHECKING:
    from nixdock import Access
    from nixdock.oci.location import Location
    from nixdock.read.report import ImageReport
    from nixdock.view import ImageView

__all__ = ["command"]

_SHOWN_FIRST: Final = ("Entrypoint", "Cmd", "Env", "WorkingDir", "User")
_OF_SCRIPTS: Final = "The scripts have not run. Their results may add store paths:"


_EXAMPLES: Final = """\b
Examples:
  nixdock inspect app.tar
  nixdock inspect app.tar --paths --sort added --top 10
  nixdock inspect app.tar --why openssl
  nixdock inspect ghcr.io/me/app:v1 --quick
"""


@click.command("inspect", epilog=_EXAMPLES)
@click.argument("source", metavar="IMAGE", type=LOCATION)
@click.option(
    "--quick", is_flag=True, help="Read no layers: verify nothing, and list no store paths."
)
@click.option(
    "--platform",
    metavar="OS/ARCH[/VARIANT]",
    help="Show only the images for this platform.  [default: all images]",
)
@listing_options(tree=True)
@graph_file_option
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
    listing: Listing,
    graph_file: Path | None,
    quick: bool,
    platform: str | None,
    access: Access | None,
    quiet: bool,
) -> None:
    """Show IMAGE's names and config, and its layers with what they change with.

    IMAGE is docker://REFERENCE, where docker:// may be left out, or an archive or directory in any
    format that nixdock writes or that Docker, Podman or skopeo save. Its layers are read, to find
    their store paths and what these refer to, and verified in the process, unless --quick is given.

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
    if quick and (listing.tree or listing.paths or listing.with_references):
        raise click.UsageError("--quick reads no layers, so it can't list what is in them")
    with reading_progress(quiet=quiet) as progress:
        report, views = view_images(
            source if spec is None else spec,
            quick=quick,
            with_files=listing.tree,
            graph=read_graph(graph_file),
            platform=platform,
            progress=progress,
            access=access,
            describing=None
            if spec is None
            else Describing(
                reuse, not no_cache, confinement or "required", chosen.urls, chosen.keys
            ),
        )
    if listing.html is not None:
        write_image_page(listing.html, views, _document(report, views, listing))
    if not listing.is_printed:
        return
    if listing.form == "json":
        click.echo(json_text(_document(report, views, listing)), nl=False)
        return
    if not report.images:
        click.echo(f"no image, as {report.format}")
    screen = standard_screen()
    for number, (image_report, view) in enumerate(zip(report.images, views, strict=True)):
        if number:
            click.echo()
        for line in _shown(report, image_report, view, listing, screen):
            click.echo(line)


def _document(
    report: FileReport, views: Sequence[ImageView], listing: Listing
) -> Mapping[str, Any]:
    document = report.document()
    for image, view in zip(document["images"], views, strict=True):
        image["view"] = view_document(view)
        if listing.why is not None:
            image["why"] = why_document(view, listing.why)
    return document


def _shown(
    report: FileReport, image: ImageReport, view: ImageView, listing: Listing, screen: Screen
) -> Iterator[str]:
    if listing.why is not None:
        return why_lines(view, listing.why, screen)
    if listing.form == "markdown":
        lines = iter(listed_markdown(view, listing).splitlines())
        return chain(lines, _script_lines(image, ["", _OF_SCRIPTS, ""], "- `{}`"))
    lines = chain(_lines(report, image, view), listed_lines(view, listing, screen))
    return chain(lines, _script_lines(image, ["", _OF_SCRIPTS], "  {}"))


def _script_lines(image: ImageReport, head: Sequence[str], line: str) -> Iterator[str]:
    """Yield the store paths that are in no layer, but that the results of scripts may add."""
    if image.script_paths:
        yield from head
        yield from (line.format(shown(path)) for path in image.script_paths)


def _lines(report: FileReport, image: ImageReport, view: ImageView) -> Iterator[str]:
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
    yield _field("size", _size(view))
    for key in [*_SHOWN_FIRST, *sorted(image.config.keys() - {*_SHOWN_FIRST})]:
        if value := image.config.get(key):
            yield from _setting(key, value)
    yield ""


def _size(view: ImageView) -> str:
    """Return the sizes of an image as a registry stores it and, if it was read, unpacked."""
    text = f"{known_size(view.size)} in {counted(len(view.layers), 'layer')}"
    compressions = {layer.compression for layer in view.layers} - {None, "none"}
    if compressions:
        text += f", compressed with {' and '.join(sorted(map(str, compressions)))}"
    sizes = [layer.tar_size for layer in view.layers]
    known = [size for size in sizes if size is not None]
    if compressions and known and len(known) == len(sizes):
        text += f" from {size_text(sum(known))}"
    return text


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
        # Ports and volumes are the keys of objects without values.
        texts = [k if v in (None, {}) else f"{k}={_text(v)}" for k, v in value.items()]
    elif isinstance(value, list) and key not in {"Entrypoint", "Cmd"}:
        texts = [v if isinstance(v, str) else json.dumps(v) for v in value]
    else:
        # JSON keeps the words of a command apart, which may contain spaces.
        texts = [_text(value)]
    for text in texts:
        yield _field(name, text)
        name = ""


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
