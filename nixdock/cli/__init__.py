"""The command line: one module per subcommand, loaded when it is called."""

from __future__ import annotations

import gc
import importlib
import logging
import os
import signal
import sys
from types import FrameType
from typing import Final, NoReturn

import click

from nixdock.errors import NixdockError, OutputError

__all__ = ["main", "run"]

_COMMANDS: Final = {
    "build": "Build an image from a spec.",
    "db": "Write the Nix database of a closure.",
    "demo": "Build an image from the small closure that comes with nixdock.",
    "diff": "Show what an update of an image transfers, and why.",
    "export": "Write an image's root file system as a tar.",
    "inspect": "Show what is in an image.",
    "merge": "Put several images into one docker-archive.",
    "plan": "Show which store paths would share a layer.",
    "plan-family": "Plan several images together, so that they share layers.",
    "prefetch": "Fetch an image of a registry into the Nix store, for pullImage.",
    "registration": "Print the registration text of a closure.",
    "resolve": "Make a spec's plan, so that its graph is no longer needed.",
    "schema": "Print the JSON Schema of an image spec.",
    "stream": "Write an image to standard output, as a docker-archive.",
    "tarsum": "Print a checksum of a tar that does not depend on its order.",
    "top-layer": "Pack the image's own files, for the spec's top_layer.",
    "verify": "Check every digest, size and count of an image.",
}


class _LazyGroup(click.Group):
    """A group that knows its commands' summaries without loading their modules."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's signature)
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"nixdock.cli.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # click would end without a word; and Python flushes standard output again at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            raise OutputError("the reader of standard output closed it before the end") from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(sorted(_COMMANDS.items()))


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show a traceback with an error.")
@click.version_option(package_name="nixdock")
@click.pass_context
def main(ctx: click.Context, *, debug: bool) -> None:
    """Turn Nix closures into container images."""
    ctx.obj = debug


def run() -> NoReturn:
    """Run the command line and exit: 0 done, 1 the job failed, 2 wrong usage or input."""
    signal.signal(signal.SIGTERM, _on_terminate)
    # Counting references frees all that matters in a short life; collecting cycles would walk
    # every object of a large closure for nothing.
    gc.disable()
    logging.basicConfig(format="%(message)s", handlers=[_Warnings()], level=logging.INFO)
    debug = "--debug" in sys.argv[1:2]
    try:
        status = main.main(prog_name="nixdock", standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(error.exit_code)
    except click.ClickException as error:
        usage = error.ctx.get_usage() if isinstance(error, click.UsageError) and error.ctx else ""
        if usage:
            click.echo(f"{usage}\n", err=True)
        _fail(error.format_message(), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        _fail("interrupted", 130)
    except NixdockError as error:
        if debug:
            raise
        _fail(str(error), error.exit_status)
    except (OSError, MemoryError) as error:
        if debug:
            raise
        _fail(f"{type(error).__name__}: {error}", 1)
    except Exception as error:
        if debug:
            raise
        _fail(f"a bug in nixdock: {type(error).__name__}: {error}; --debug shows where", 1)
    # All is written and closed: taking the interpreter apart, object by object, changes nothing.
    sys.stderr.flush()
    os._exit(status if isinstance(status, int) else 0)


class _Warnings(logging.StreamHandler):  # type: ignore[type-arg]
    """Print log records to standard error the way errors are printed."""

    def format(self, record: logging.LogRecord) -> str:
        return f"{record.levelname.lower()}: {record.getMessage()}"


def _on_terminate(_signal: int, _frame: FrameType | None) -> NoReturn:
    # An exception, so that temporary files go the way they always go.
    raise SystemExit(128 + signal.SIGTERM)


def _fail(message: str, status: int) -> NoReturn:
    click.echo(f"error: {message}", err=True)
    sys.exit(status)
