"""`nixdock plan-family`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import click

from nixdock import (
    Closure,
    ClosureError,
    LayerPlan,
    StorePath,
    plan_document,
    plan_family,
    read_closure,
)
from nixdock.cli.options import FILE
from nixdock.cli.output import pretty_json
from nixdock.system.atomic import whole_directory

__all__ = ["command"]

_MARKER: Final = "family.json"
# Images give their names to plan files.
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*", re.ASCII)


@click.command("plan-family")
@click.argument("images", nargs=-1, required=True, metavar="NAME=GRAPH[#KEY]...")
@click.option("-o", "--output", "target", type=FILE, required=True, help="Directory to write.")
@click.option(
    "--max-layers",
    "limits",
    multiple=True,
    default=["100"],
    show_default=True,
    metavar="[NAME=]N",
    help="Most layers of each finished image, or of NAME, including the top layer. Repeatable.",
)
@click.option("--exclude", multiple=True, help="Store path to leave out of the images. Repeatable.")
@click.option("--volatile", multiple=True, help="Store path that changes often. Repeatable.")
def command(
    images: tuple[str, ...],
    target: Path,
    limits: tuple[str, ...],
    exclude: tuple[str, ...],
    volatile: tuple[str, ...],
) -> None:
    """Plan several images together, so that they share layers, and write DIR/NAME.plan.json.

    GRAPH is a reference graph in any form in which Nix exports one; KEY selects a graph of a
    structured-attrs file. Each plan is for an image's `layering.plan`, with strategy `explicit`.
    """
    excluded = [StorePath.parse(path) for path in exclude]
    closures = dict(_named_closure(image, excluded) for image in images)
    if len(closures) < len(images):
        raise click.UsageError("two images have the same name")
    plans = plan_family(
        closures,
        max_layers=_limits(limits, closures),
        volatile=map(StorePath.parse, volatile),
    )
    with whole_directory(target, _MARKER) as directory:
        for name, plan in plans.items():
            document = plan_document(plan, "family")
            (directory / f"{name}.plan.json").write_bytes(pretty_json(document))
        counts = {name: len(plan.layers) for name, plan in plans.items()}
        (directory / _MARKER).write_bytes(pretty_json({"layers": counts}))
    click.echo(_summary(plans))


def _named_closure(image: str, excluded: list[StorePath]) -> tuple[str, Closure]:
    """Read NAME=GRAPH[#KEY] and return the name and the closure without `excluded`."""
    name, equals, graph = image.partition("=")
    if not equals or not _NAME.fullmatch(name):
        raise click.UsageError(
            f"{image!r} is not NAME=GRAPH; a NAME consists of letters, digits, '_', '.' and '-'"
        )
    file, _, key = graph.partition("#")
    closure = read_closure(file, [key] if key else []).without(excluded)
    if not len(closure):
        raise ClosureError(
            f"{graph}: the closure of {name} is empty: there is nothing to plan", path=file
        )
    return name, closure


def _limits(texts: Iterable[str], names: Iterable[str]) -> dict[str, int]:
    """Return each image's most layers; NAME=N takes precedence over N in any order."""
    limits = dict.fromkeys(names, 100)
    for text in sorted(texts, key=lambda text: "=" in text):
        name, equals, number = text.rpartition("=")
        if not (number.isascii() and number.isdigit()) or (equals and name not in limits):
            raise click.UsageError(
                f"--max-layers {text}: expected a number, or NAME=N with the name of an image"
            )
        limits.update({name: int(number)} if equals else dict.fromkeys(limits, int(number)))
    return limits


def _summary(plans: Mapping[str, LayerPlan]) -> str:
    layers = [layer.paths for plan in plans.values() for layer in plan.layers]
    return f"{len(plans)} images, {len(layers)} layers, {len(set(layers))} of them different"
