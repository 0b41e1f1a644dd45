"""What `nixdock pull` and `nixdock copy` share: options, and text about what was copied."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from nixdock.cli.options import all_platforms_option, platform_option
from nixdock.cli.output import size_text
from nixdock.system.text import counted, shown

if TYPE_CHECKING:
    from nixdock import Copied

__all__ = ["copied_lines", "copy_options", "pulled", "referrers_option"]

_Command = TypeVar("_Command", bound=Callable[..., Any])

_OUTCOMES: Final = ("present", "mounted", "uploaded", "written")


referrers_option = click.option(
    "--referrers",
    is_flag=True,
    help="Take along what is attached to images, such as signatures and SBOMs.",
)


def copy_options(command: _Command) -> _Command:
    """Add --platform, --all-platforms, --referrers and --json to a command."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON in place of the digest."),
        referrers_option,
        all_platforms_option,
        platform_option,
    ):
        command = option(command)
    return command


def pulled(result: Copied) -> str:
    """Return the names, number of blobs and size of an image, and how much of it was fetched."""
    images = len(result.manifests)
    what = f"{counted(images, 'manifest')}, " if images > 1 else ""
    fetched = "" if result.read >= result.size else f", {size_text(result.read)} of them fetched"
    name = shown(", ".join(result.names) or result.source)
    attached = result.attachments
    along = f", {counted(len(attached), 'attachment')}" if attached else ""
    layers = counted(result.layers, "layer")
    return f"{name}, {what}{layers}, {size_text(result.size)}{fetched}{along}"


def copied_lines(result: Copied) -> Iterator[str]:
    """Yield a line for each blob and a summary."""
    for blob in result.blobs:
        yield f"{blob.outcome:<8} {blob.digest[:19]} {size_text(blob.size)}"
    counts = [(result.count(outcome), outcome) for outcome in _OUTCOMES]
    parts = ", ".join(f"{count} {outcome}" for count, outcome in counts if count)
    name = shown(", ".join(result.names) or result.destination)
    attached = result.attachments
    along = f", {counted(len(attached), 'attachment')}" if attached else ""
    yield f"{name}: {parts}{along}, {size_text(result.read)} read"
