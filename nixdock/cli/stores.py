"""The options that say which stores have the closure, and whom to trust."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click
from msgspec import Struct

if TYPE_CHECKING:
    from nixdock import Access, Closure, ImageSpec

__all__ = ["ChosenStores", "cache_options", "realise_option", "store_options"]

_Command = TypeVar("_Command", bound=Callable[..., Any])


realise_option = click.option(
    "--realise",
    is_flag=True,
    help="Let Nix build or substitute what no store has of the closure.",
)


class ChosenStores(Struct, frozen=True):
    """Binary caches by their URLs, keys that are trusted, and perhaps the roots of a closure."""

    urls: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    roots: tuple[str, ...] = ()
    realise: bool = False

    def applied_to_all(
        self, images: Sequence[ImageSpec | str], access: Access | None
    ) -> list[ImageSpec | str]:
        """Return the images with these stores in the specs; others are locations, which need none.

        Raise UsageError if there is no spec, but a store.
        """
        if self != ChosenStores() and all(isinstance(image, str) for image in images):
            raise click.UsageError("--store, --root and --realise are for a spec, not for an image")
        return [
            image if isinstance(image, str) else self.applied_to(image, access) for image in images
        ]

    def applied_to(self, spec: ImageSpec, access: Access | None) -> ImageSpec:
        """Return the spec with these roots in place of its graph, and these stores besides its own.

        Let Nix realise what no store has, if that was asked for.
        """
        if self.urls or self.keys or self.roots:
            from nixdock.spec.chosen_stores import with_stores

            spec = with_stores(spec, self.urls, self.keys, self.roots)
        if self.realise:
            from nixdock import realise_closure

            realise_closure(spec, access=access)
        return spec

    def closure(
        self,
        graph: Path | None,
        keys: tuple[str, ...],
        access: Access | None = None,
    ) -> Closure:
        """Return the closure in a graph, or that of the roots: in the graph or else in the stores.

        Raise UsageError unless one of the two is given, and InputError if a graph lacks a root.
        """
        from nixdock import query_closure, read_closure

        if graph is not None:
            if self.urls or self.keys:
                raise click.UsageError("--store is for --root, in place of GRAPH")
            from nixdock.cli.store_paths import members_named

            closure = read_closure(graph, keys)
            if not self.roots:
                return closure
            return closure.reached_from(members_named(self.roots, closure.infos))
        if not self.roots:
            raise click.UsageError("expected GRAPH, or the roots of a closure with --root")
        if keys:
            raise click.UsageError("--key is for GRAPH")
        return query_closure(
            self.roots, stores=self.urls, trusted_public_keys=self.keys, access=access
        )


def store_options(command: _Command) -> _Command:
    """Add --root and the options of `cache_options` to a command.

    The command takes the parameter `chosen`, a `ChosenStores`.
    """
    option = click.option(
        "--root",
        "roots",
        multiple=True,
        metavar="STORE_PATH",
        help="Root of the closure: within GRAPH or, without one, in the local store and in --store."
        " Repeatable.",
    )
    return option(cache_options(command))


def cache_options(command: _Command) -> _Command:
    """Add --store, --trusted-public-key and --no-check-sigs to a command; it takes `chosen`."""

    @functools.wraps(command)
    def with_stores(
        *args: Any,
        stores: tuple[str, ...],
        trusted_public_keys: tuple[str, ...],
        no_check_sigs: bool,
        roots: tuple[str, ...] = (),
        realise: bool = False,
        **others: Any,
    ) -> Any:
        if no_check_sigs:
            stores = tuple(f"{url}{'&' if '?' in url else '?'}trusted=1" for url in stores)
        chosen = ChosenStores(stores, trusted_public_keys, roots, realise)
        return command(*args, chosen=chosen, **others)

    options = (
        click.option(
            "--no-check-sigs",
            is_flag=True,
            help="Accept store paths of --store that no trusted key has signed.",
        ),
        click.option(
            "--trusted-public-key",
            "trusted_public_keys",
            multiple=True,
            metavar="NAME:BASE64",
            help="Key whose signatures to trust, besides those in nix.conf. Repeatable.",
        ),
        click.option(
            "--store",
            "stores",
            multiple=True,
            metavar="URL",
            help="Binary cache that has what the local store lacks. Repeatable.",
        ),
    )
    made = functools.reduce(lambda function, option: option(function), options, with_stores)
    return cast("_Command", made)
