"""`nixdock plan-family`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from msgspec import Struct

from nixdock import (
    Closure,
    ClosureError,
    LayerPlan,
    StorePath,
    plan_document,
    plan_family,
    read_previous,
)
from nixdock.cli.access import access_options
from nixdock.cli.location import LOCATION, named_location
from nixdock.cli.options import OUTPUT_PATH, platform_option, root_option
from nixdock.cli.store_paths import members_named
from nixdock.layering.plan import store_layer_budget
from nixdock.nix.reference_graph import parse_closures
from nixdock.oci.descriptor import Platform
from nixdock.oci.limits import MOST_LAYERS
from nixdock.oci.location import FileLocation
from nixdock.read.nix_store import read_image_store
from nixdock.read.selection import select_image
from nixdock.registry.opening import open_location
from nixdock.system.atomic import whole_directory
from nixdock.system.directory_form import DirectoryForm
from nixdock.system.input_files import read_bytes
from nixdock.system.json_text import json_text
from nixdock.system.presence import is_file
from nixdock.system.text import counted
from nixdock.system.writers import FileWriter

if TYPE_CHECKING:
    from nixdock import Access
    from nixdock.oci.location import Location

__all__ = ["command"]

_MARKER: Final = "family.json"
_PLAN: Final = ".plan.json"
# Images give their names to plan files.
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*", re.ASCII)
# Python refuses to read thousands of digits.
_LIMIT: Final = re.compile(r"[0-9]{1,9}", re.ASCII)
_FORM: Final = DirectoryForm(_MARKER, re.compile(_NAME.pattern + re.escape(_PLAN), re.ASCII))


_EXAMPLES: Final = """\b
Examples:
  nixdock plan-family a=a.json b=b.json -o plans
  nixdock plan-family a=a.json b=b.json -o plans --previous plans
"""


@click.command("plan-family", epilog=_EXAMPLES)
@click.argument("images", nargs=-1, required=True, metavar="NAME=GRAPH[#KEY]...")
@click.option(
    "-o", "--output", "target", type=OUTPUT_PATH, required=True, help="Directory to write."
)
@click.option(
    "--max-layers",
    "limits",
    multiple=True,
    default=["100"],
    show_default=True,
    metavar="[NAME=]N",
    help="Most layers of each finished image, or of NAME, including the top layer. Repeatable.",
)
@click.option(
    "--from-image",
    "bases",
    multiple=True,
    metavar="NAME=LOCATION[#[REPOSITORY][:TAG]]",
    help="Base image of NAME, whose store paths are left out and whose layers count. Repeatable.",
)
@click.option(
    "--architecture",
    "architectures",
    multiple=True,
    metavar="NAME=ARCH[/VARIANT]",
    help="Platform of NAME, if its base image is for several. Repeatable.",
)
@click.option(
    "--previous",
    multiple=True,
    type=LOCATION,
    help="Plan file or image that one of the images replaces, or the directory of the previous"
    " family's plans. Repeatable, of several versions of an image the newest first.",
)
@platform_option
@root_option
@click.option("--exclude", multiple=True, help="Store path to leave out of the images. Repeatable.")
@click.option("--volatile", multiple=True, help="Store path that changes often. Repeatable.")
@access_options
def command(
    images: tuple[str, ...],
    target: Path,
    limits: tuple[str, ...],
    bases: tuple[str, ...],
    architectures: tuple[str, ...],
    previous: tuple[Location, ...],
    platform: str | None,
    roots: tuple[str, ...],
    exclude: tuple[str, ...],
    volatile: tuple[str, ...],
    access: Access | None,
) -> None:
    """Plan several images together, so that they share layers, and write DIR/NAME.plan.json.

    GRAPH is a reference graph in any form in which Nix exports one; KEY selects a graph of a
    structured-attrs file. Each plan is for an image's `layering.plan`, with strategy `explicit`.
    A store path may be given by its name if only one store path of all graphs has it.

    With --previous, layers whose store paths all still exist stay, in all images that had them. No
    names are needed: what a previous plan has in common with an image tells whose it is.
    """
    if platform is not None and not previous:
        raise click.UsageError("--platform is for --previous")
    graphs = [_named_graph(image) for image in images]
    if len(dict(graphs)) < len(graphs):
        raise click.UsageError("two images have the same name")
    whole = _closures(graphs)
    paths = frozenset(path for closure in whole.values() for path in closure.infos)
    if roots:
        own = frozenset(members_named(roots, paths))
        whole = {name: c.reached_from(own & c.infos.keys()) for name, c in whole.items()}
    excluded = members_named(exclude, paths)
    closures = {name: closure.without(excluded) for name, closure in whole.items()}
    for name, graph in graphs:
        if not len(closures[name]):
            raise ClosureError(
                f"{graph}: the closure of {name} is empty: there is nothing to plan",
                path=graph.partition("#")[0],
            )
    most = _limits(limits, closures)
    base_images = _by_name("--from-image", bases, closures)
    platforms = _by_name("--architecture", architectures, closures)
    if useless := sorted(platforms.keys() - base_images.keys()):
        raise click.UsageError(
            f"--architecture is for a base image, but {useless[0]} has no --from-image"
        )
    for name, base in base_images.items():
        found = _read_base(base, platforms.get(name), closures[name], access)
        closures[name] = closures[name].without(found.paths)
        if len(closures[name]):
            store_layer_budget(most[name], found.layers)
        most[name] -= found.layers
    before = [
        read_previous(each, platform=platform, access=access)
        for location in previous
        for each in _images_of(location)
    ]
    plans = dict.fromkeys(closures, LayerPlan(()))
    plans |= plan_family(
        # An image whose base image has all of its store paths needs no layer for them.
        {name: closure for name, closure in closures.items() if len(closure)},
        max_layers=most,
        volatile=members_named(volatile, paths),
        previous=before,
    )
    with whole_directory(target, _FORM) as directory:
        for name, plan in plans.items():
            document = plan_document(plan, "family")
            with FileWriter(directory / f"{name}{_PLAN}") as file:
                file.write(json_text(document))
        counts = {name: len(plan.layers) for name, plan in plans.items()}
        with FileWriter(directory / _MARKER) as file:
            file.write(json_text({"layers": counts}))
    click.echo(_summary(plans))


def _named_graph(image: str) -> tuple[str, str]:
    """Return the two parts of NAME=GRAPH[#KEY]."""
    name, _, graph = image.partition("=")
    if not _NAME.fullmatch(name) or not graph.partition("#")[0]:
        raise click.UsageError(
            f"{image!r} is not NAME=GRAPH; a NAME consists of letters, digits, '_', '.' and '-'"
        )
    return name, graph


def _closures(graphs: Iterable[tuple[str, str]]) -> dict[str, Closure]:
    """Read the closure of each NAME and GRAPH[#KEY], in this order; read each file once."""
    keys: dict[str, dict[str, list[str]]] = {}
    for name, graph in graphs:
        file, _, key = graph.partition("#")
        keys.setdefault(file, {})[name] = [key] if key else []
    found: dict[str, Closure] = {}
    for file, of_names in keys.items():
        data = read_bytes(Path(file), "the graph")
        found.update(zip(of_names, parse_closures(data, of_names.values(), file), strict=True))
    return {name: found[name] for name, _ in graphs}


def _images_of(location: Location) -> list[Location]:
    """Return the plan files of a directory of a family's plans, or else the location itself."""
    if not isinstance(location, FileLocation) or not is_file(location.path / _MARKER):
        return [location]
    return [FileLocation(file) for file in sorted(location.path.glob(f"*{_PLAN}"))]


def _limits(texts: Iterable[str], names: Iterable[str]) -> dict[str, int]:
    """Return each image's most layers; NAME=N takes precedence over N in any order.

    The limit of container runtimes is that of the whole image, so it applies before a base image's
    layers are subtracted.
    """
    limits = dict.fromkeys(names, 100)
    for text in sorted(texts, key=lambda text: "=" in text):
        name, equals, number = text.rpartition("=")
        if not _LIMIT.fullmatch(number) or (equals and name not in limits):
            raise click.UsageError(
                f"--max-layers {text}: expected a number, or NAME=N with the name of an image"
            )
        limit = min(int(number), MOST_LAYERS)
        limits.update({name: limit} if equals else dict.fromkeys(limits, limit))
    return limits


def _by_name(option: str, texts: Iterable[str], names: Iterable[str]) -> dict[str, str]:
    """Return the value of each NAME=VALUE by its name."""
    values: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not value or name not in names or name in values:
            raise click.UsageError(
                f"{option} {text}: expected NAME=VALUE, once for the name of an image"
            )
        values[name] = value
    return values


class _Base(Struct, frozen=True):
    """What a base image has of a closure, and the number of its layers."""

    paths: frozenset[StorePath]
    layers: int


def _read_base(text: str, platform: str | None, closure: Closure, access: Access | None) -> _Base:
    """Read the base image LOCATION[#[REPOSITORY][:TAG]]."""
    file, _, reference = text.partition("#")
    repository, colon, tag = reference.rpartition(":")
    if not colon or "/" in tag:
        repository, tag = reference, ""
    architecture, _, variant = (platform or "").partition("/")
    wanted = Platform(architecture, variant=variant or None) if architecture else None
    location = named_location(file)
    with open_location(location, access, platform=wanted or Platform(), keep=True) as opened:
        image = select_image(opened, repository or None, tag or None, wanted)
        in_base: set[StorePath] = set()
        for store_dir in {path.store_dir for path in closure.infos}:
            store = read_image_store(image.layers, store_dir)
            in_base.update(info.path for info in closure if store.has_whole(info))
        return _Base(frozenset(in_base), len(image.layers))


def _summary(plans: Mapping[str, LayerPlan]) -> str:
    layers = [layer.paths for plan in plans.values() for layer in plan.layers]
    images = counted(len(plans), "image")
    return f"{images}, {counted(len(layers), 'layer')}, {len(set(layers))} of them different"
