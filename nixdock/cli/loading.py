"""Loading an image, for the commands that do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from nixdock.cli.options import overridden
from nixdock.cli.progress import packing_progress
from nixdock.cli.source import read_source
from nixdock.cli.stores import ChosenStores
from nixdock.spec.annotations import with_own_annotations

if TYPE_CHECKING:
    from nixdock import Access, Loaded
    from nixdock.oci.location import Location

__all__ = ["into_option", "load_source", "runtime_platform_option", "tag_option"]

_Command = TypeVar("_Command", bound=Callable[..., Any])

# As in `nixdock.runtime.runtimes`, which is slow to load.
_RUN: Final = ("docker", "podman", "containerd", "nerdctl", "k3s")
_ALL: Final = (*_RUN, "kind", "minikube")
_NO_STORES: Final = ChosenStores()


def into_option(*, running: bool = False) -> Callable[[_Command], _Command]:
    """Add --into to a command; with `running`, only for runtimes that run containers themselves."""
    return click.option(
        "--into",
        type=click.Choice(_RUN if running else _ALL),
        help="The runtime.  [default: Docker or Podman, whichever answers]",
    )


tag_option = click.option(
    "--tag",
    "tags",
    multiple=True,
    metavar="NAME:TAG",
    help="Name of the image in the runtime, in place of its own. Repeatable.",
)


runtime_platform_option = click.option(
    "--platform",
    metavar="OS/ARCH[/VARIANT]",
    help="Platform of the image; an image for another one is an error."
    "  [default: the runtime's own, of an image for several]",
)


def load_source(
    source: str,
    into: str | None,
    tags: Sequence[str],
    *,
    platform: str | None = None,
    previous: Sequence[Location] = (),
    no_previous: bool = False,
    chosen: ChosenStores = _NO_STORES,
    access: Access | None,
    confinement: str | None,
    use_cache: bool,
    quiet: bool,
) -> Loaded:
    """Bring a spec's image, or one that exists, into a runtime."""
    # Slow to load, and not needed to show the help.
    from nixdock import load_image

    spec_or_location = read_source(source, previous, no_previous=no_previous)
    (image,) = chosen.applied_to_all([spec_or_location], access)
    if not isinstance(image, str):
        if platform is not None:
            raise click.UsageError("a spec is for one platform, which it states itself")
        # Whatever it is called there, it is the same image.
        image, tags = overridden(with_own_annotations(image), None, tags), ()
    with packing_progress(quiet=quiet) as progress:
        return load_image(
            image,
            into=into,
            names=tags,
            platform=platform,
            use_cache=use_cache,
            use_memory=not no_previous,
            access=access,
            progress=progress,
            confinement=confinement or "required",
        )
