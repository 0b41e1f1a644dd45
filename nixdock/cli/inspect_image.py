"""`nixdock inspect`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click
import orjson

from nixdock.cli.progress import size_text
from nixdock.read.opening import open_image
from nixdock.read.report import FileReport, ImageReport, LayerReport, inspect_images
from nixdock.system.text import shown

__all__ = ["command"]

_SHOWN_FIRST: Final = ("Entrypoint", "Cmd", "Env", "WorkingDir", "User")


@click.command("inspect")
@click.argument("image", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(image: Path, *, as_json: bool) -> None:
    """Show what is in IMAGE: its names, its config, and each layer with its store paths.

    IMAGE is an archive or a directory in any form that is written, or that Docker, Podman or
    skopeo save. Its layers are read to see what they hold, and are verified on the way.
    """
    with open_image(image) as file:
        report = inspect_images(file)
    if as_json:
        click.echo(orjson.dumps(report.document(), option=orjson.OPT_INDENT_2))
    else:
        texts = ["\n".join(_lines(report, found)) for found in report.images]
        click.echo("\n\n".join(texts or [f"no image, as {report.format}"]))


def _lines(report: FileReport, image: ImageReport) -> Iterator[str]:
    platform = "/".join(filter(None, [image.os, image.architecture, image.variant]))
    names = ", ".join(image.tags) or "without a name"
    yield _field("image", f"{names} ({platform}), as {report.format}")
    if image.digest:
        yield _field("manifest", image.digest)
    yield _field("config", image.config_digest)
    if image.created:
        yield _field("created", image.created)
    for key in [*_SHOWN_FIRST, *sorted(image.config.keys() - {*_SHOWN_FIRST})]:
        if value := image.config.get(key):
            yield from _setting(key, value)
    yield ""
    yield f"{'layer':>5}  {'digest':<19} {'size':>9} {'paths':>5}  contents"
    for number, layer in enumerate(image.layers, 1):
        yield from _layer(number, layer)


def _field(name: str, value: str) -> str:
    return f"{shown(name):<12} {shown(value)}"


def _setting(key: str, value: Any) -> Iterator[str]:
    name = key.lower()
    if isinstance(value, dict):
        texts = [f"{k}={v}" if isinstance(v, str) else k for k, v in value.items()]
    elif isinstance(value, list) and key not in {"Entrypoint", "Cmd"}:
        texts = [v if isinstance(v, str) else json.dumps(v) for v in value]
    else:
        # The words of a command may hold spaces.
        texts = [value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)]
    for text in texts:
        yield _field(name, text)
        name = ""


def _layer(number: int, layer: LayerReport) -> Iterator[str]:
    names = [path.rpartition("/")[2] for path in layer.store_paths]
    first, *others = names or [layer.comment or layer.created_by]
    sizes = f"{size_text(layer.size):>9} {len(names):>5}"
    yield f"{number:>5}  {layer.digest[:19]} {sizes}  {shown(first)}"
    for name in others:
        yield f"{'':44}{shown(name)}"
