"""`nixdock check`."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from nixdock import Describing, NixdockError, Policy, check_policy, sarif_json
from nixdock.cli.access import access_options
from nixdock.cli.budget import MAX_LAYER, MAX_SIZE
from nixdock.cli.location import LOCATION
from nixdock.cli.options import (
    FILE_OR_STDIN,
    OUTPUT,
    SIZE,
    confinement_options,
    no_cache_option,
    quiet_option,
    reuse_option,
)
from nixdock.cli.output import is_standard_output
from nixdock.cli.progress import reading_progress
from nixdock.cli.stores import ChosenStores, cache_options
from nixdock.oci.location import location_text
from nixdock.system.atomic import whole_file
from nixdock.system.json_text import json_text
from nixdock.system.text import counted, shown

if TYPE_CHECKING:
    from nixdock import Access, PolicyReport
    from nixdock.oci.location import Location

__all__ = ["command"]

log = logging.getLogger(__name__)

_EXAMPLES: Final = """\b
Examples:
  nixdock check app.tar --max-size 200MB --max-layers 40
  nixdock check app.json --max-update 50MB --against ghcr.io/me/app:latest
  nixdock check app.tar --deny-setuid --deny-path 'gcc-[0-9]' --sarif app.sarif
  nixdock check graph.json --meta meta.json --deny-license 'AGPL-*'
"""
_LONGEST: Final = 4000


@click.command("check", epilog=_EXAMPLES)
@click.argument("source", type=LOCATION)
@MAX_SIZE
@click.option(
    "--max-uncompressed", type=SIZE, metavar="SIZE", help="Limit for the uncompressed layers."
)
@click.option(
    "--max-layers", type=click.IntRange(min=0), metavar="N", help="Limit for the number of layers."
)
@MAX_LAYER
@click.option(
    "--max-update",
    type=SIZE,
    metavar="SIZE",
    help="Limit for what a registry transfers for an update from --against.",
)
@click.option("--against", type=LOCATION, metavar="IMAGE", help="The image that is updated.")
@click.option(
    "--deny-license",
    "denied_licenses",
    multiple=True,
    metavar="LICENSE",
    help="SPDX identifier or name of a licence, with the wildcards of the shell. Repeatable.",
)
@click.option(
    "--deny-unknown-license",
    "deny_unknown_licenses",
    is_flag=True,
    help="Deny packages whose licence is not known.",
)
@click.option(
    "--meta",
    type=FILE_OR_STDIN,
    metavar="FILE",
    help="The licences of Nix packages, as for nixdock sbom.",
)
@click.option(
    "--deny-path",
    "denied_paths",
    multiple=True,
    metavar="REGEX",
    help="Deny files and store paths whose path has a part that matches. Repeatable.",
)
@click.option(
    "--deny-setuid",
    is_flag=True,
    help="Deny files with a set-user-ID or set-group-ID bit, or with capabilities.",
)
@click.option(
    "--allow-setuid",
    "allowed_setuid",
    multiple=True,
    metavar="REGEX",
    help="Deny such files, except those whose whole path matches. Repeatable.",
)
@click.option(
    "--deny-world-writable",
    is_flag=True,
    help="Deny files, and directories without the sticky bit, that everybody can write to.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--sarif", type=OUTPUT, metavar="FILE", help="Write the findings as SARIF 2.1.0.")
@click.option(
    "--platform",
    metavar="OS/ARCH[/VARIANT]",
    help="Check only the image for this platform.  [default: all images of an index]",
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
    max_size: int | None,
    max_uncompressed: int | None,
    max_layers: int | None,
    max_layer: int | None,
    max_update: int | None,
    against: Location | None,
    denied_licenses: tuple[str, ...],
    deny_unknown_licenses: bool,
    meta: Path | None,
    denied_paths: tuple[str, ...],
    deny_setuid: bool,
    allowed_setuid: tuple[str, ...],
    deny_world_writable: bool,
    as_json: bool,
    sarif: Path | None,
    platform: str | None,
    reuse: tuple[str, ...],
    chosen: ChosenStores,
    no_cache: bool,
    confinement: str | None,
    access: Access | None,
    quiet: bool,
) -> None:
    """Fail if SOURCE breaks a rule that the options set, and list everything that does.

    SOURCE is a reference graph, a spec, or the location of an image, as for nixdock sbom. A spec
    stands for the image that `nixdock build` would write. Each finding is printed on a line, as
    RULE: MESSAGE; if there are any, the exit status is 1.

    Sizes count the blobs as a registry stores them, each once, with the config and the manifest.
    Denied paths are looked for in every layer, also below an upper one that hides them; a directory
    stands for everything in it. Permissions are those that a container sees. A graph has neither
    layers nor permissions: only --max-uncompressed, which counts NARs, --deny-path, for store
    paths, and licences can be checked.

    Of an index, the images for all platforms are checked, each for itself, unless there is a
    --platform. Findings are then printed as RULE: PLATFORM: MESSAGE.
    """
    apart = sarif is not None and is_standard_output(sarif)
    if apart and as_json:
        raise click.UsageError("standard output can't be both the JSON and the SARIF")
    policy = Policy(
        max_size=max_size,
        max_uncompressed=max_uncompressed,
        max_layers=max_layers,
        max_layer=max_layer,
        max_update=max_update,
        denied_licenses=denied_licenses,
        deny_unknown_licenses=deny_unknown_licenses,
        denied_paths=denied_paths,
        deny_setuid=deny_setuid or bool(allowed_setuid),
        allowed_setuid=allowed_setuid,
        deny_world_writable=deny_world_writable,
    )
    if not any(policy.rules()):
        raise click.UsageError("expected at least one rule, such as --max-size or --deny-path")
    if (max_update is None) is not (against is None):
        raise click.UsageError("--max-update and --against belong together")
    with reading_progress(quiet=quiet) as progress:
        report = check_policy(
            source,
            policy,
            against=against,
            meta=meta,
            platform=platform,
            progress=progress,
            access=access,
            describing=Describing(
                reuse, not no_cache, confinement or "required", chosen.urls, chosen.keys
            ),
        )
    if denied_licenses and not deny_unknown_licenses:
        _warn_of_unknown(report)
    if sarif is not None:
        with whole_file(sarif) as stream:
            stream.write(sarif_json(report))
    if as_json:
        click.echo(json_text(report.document()), nl=False)
    else:
        for line in _lines(report):
            click.echo(line, err=apart)
    if not report.passed:
        place = location_text(source)
        raise NixdockError(
            f"{place} breaks the policy: {counted(len(report.findings), 'finding')}", path=place
        )


def _warn_of_unknown(report: PolicyReport) -> None:
    if report.unlicensed:
        log.warning(
            "the licences of %s are not known; name a file that knows them with --meta, or deny"
            " them with --deny-unknown-license",
            counted(report.unlicensed, "package"),
        )
    if report.unexamined is not None:
        log.warning(
            "packages of the base image, and their licences, are not known, as %s; deny them"
            " with --deny-unknown-license",
            report.unexamined,
        )


def _lines(report: PolicyReport) -> Iterator[str]:
    for finding in report.findings:
        yield shown(f"{finding.rule}: {finding.text}", _LONGEST)
    if report.passed:
        platforms = f", for {', '.join(report.platforms)}" if report.platforms else ""
        yield f"ok: {', '.join(report.rules)}{platforms}"
