"""The options for budgets: limits of sizes, which mean the same wherever they can be given."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

import click

from nixdock.cli.options import SIZE

__all__ = ["MAX_LAYER", "MAX_SIZE", "budget_options"]

_Command = TypeVar("_Command", bound=Callable[..., Any])

MAX_SIZE: Final = click.option(
    "--max-size", type=SIZE, metavar="SIZE", help="Limit for the image as a registry stores it."
)
"""The option --max-size."""

MAX_LAYER: Final = click.option(
    "--max-layer", type=SIZE, metavar="SIZE", help="Limit for each layer as a registry stores it."
)
"""The option --max-layer."""

_MAX_UPDATE: Final = click.option(
    "--max-update",
    "--fail-over",
    "max_update",
    type=SIZE,
    metavar="SIZE",
    help="Limit for what a registry transfers, for example 50MB or 1GiB.",
)


def budget_options(command: _Command) -> _Command:
    """Add --max-size, --max-layer and --max-update to a command that compares.

    The command takes the parameter `budget`: a `Policy`, which may have no rules.
    """

    @functools.wraps(command)
    def with_budget(
        *args: Any,
        max_size: int | None,
        max_layer: int | None,
        max_update: int | None,
        **others: Any,
    ) -> Any:
        from nixdock import Policy

        budget = Policy(max_size=max_size, max_layer=max_layer, max_update=max_update)
        return command(*args, budget=budget, **others)

    return cast("_Command", MAX_SIZE(MAX_LAYER(_MAX_UPDATE(with_budget))))
