"""`nixdock plan-family`."""

from __future__ import annotations

import re
from pathlib import Path

import click
import orjson

from nixdock.errors import ClosureError
from nixdock.layering import LayeringOptions, LayerPlan, store_layer_budget
from nixdock.layering.family import plan_family
from nixdock.layering.plan_file import plan_document
from nixdock.nix.closure import Closure
from nixdock.nix.reference_graph import parse_closure
from nixdock.nix.store_path import StorePath
from nixdock.system.atomic import whole_directory
from nixdock.system.input_files import read_bytes

__all__ = ["command"]

_MARKER = "family.json"
# It becomes the name of a file.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*", re.ASCII)
_PRETTY = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE


@click.command("plan-family")
@click.argument("images", nargs=-1, required=True, metavar="NAME=GRAPH[#KEY]...")
@click.option("-o", "--output", "target", type=click.Path(path_type=Path), required=True)
@click.option(
    "--max-layers",
    "limits",
    multiple=True,
    default=["100"],
    show_default=True,
    metavar="[NAME=]N",
    help="Limit of each finished image, or of one: the top layer counts.",
)
@click.option("--exclude", multiple=True, help="Store path that stays out of the images.")
@click.option("--volatile", multiple=True, help="Store path that is known to change often.")
def command(
    images: tuple[str, ...],
    target: Path,
    limits: tuple[str, ...],
    exclude: tuple[str, ...],
    volatile: tuple[str, ...],
) -> None:
    """Plan several images together, so that they share layers, and write DIR/NAME.plan.json.

    GRAPH is a reference graph in any form in which Nix exports one; KEY is that of a graph in a
    structured-attrs file. Each plan is for `layering.plan` of an image, with strategy `explicit`.
    """
    excluded = [StorePath.parse(path) for path in exclude]
    closures = dict(_closure(image, excluded) for image in images)
    if len(closures) < len(images):
        raise click.UsageError("two images have the same name")
    budgets = {name: store_layer_budget(most) for name, most in _limits(limits, closures).items()}
    options = LayeringOptions(volatile=frozenset(map(StorePath.parse, volatile)))
    plans = plan_family(closures, budgets, options)
    with whole_directory(target, _MARKER) as directory:
        for name, plan in plans.items():
            document = plan_document(plan, "family", plan.history)
            (directory / f"{name}.plan.json").write_bytes(orjson.dumps(document, option=_PRETTY))
        summary = {name: len(plan.layers) for name, plan in plans.items()}
        (directory / _MARKER).write_bytes(orjson.dumps({"layers": summary}, option=_PRETTY))
    click.echo(_told(plans))


def _closure(image: str, excluded: list[StorePath]) -> tuple[str, Closure]:
    name, equals, graph = image.partition("=")
    if not equals or not _NAME.fullmatch(name):
        raise click.UsageError(f"{image!r} is not NAME=GRAPH with a plain NAME")
    file, _, key = graph.partition("#")
    data = read_bytes(Path(file), "the graph")
    closure = parse_closure(data, [key] if key else [], file).without(excluded)
    if not len(closure):
        raise ClosureError(f"{graph}: the closure of {name} is empty: there is nothing to plan")
    return name, closure


def _limits(texts: tuple[str, ...], closures: dict[str, Closure]) -> dict[str, int]:
    limits = dict.fromkeys(closures, 100)
    # Those of one image count for more than that of all, wherever they stand.
    for text in sorted(texts, key=lambda text: "=" in text):
        name, equals, number = text.rpartition("=")
        if not (number.isascii() and number.isdigit()) or (equals and name not in closures):
            raise click.UsageError(f"--max-layers {text}: expected a number, or NAME=N of an image")
        limits.update({name: int(number)} if equals else dict.fromkeys(closures, int(number)))
    return limits


def _told(plans: dict[str, LayerPlan]) -> str:
    layers = [layer.paths for plan in plans.values() for layer in plan.layers]
    once = len(set(layers))
    return f"{len(plans)} images, {len(layers)} layers, of which {once} are different"
