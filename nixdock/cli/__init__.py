"""The command line: one module per subcommand, loaded when it is called.

The commands do their work through the public interface of `nixdock`; what is theirs are options,
and text for people.
"""

from __future__ import annotations

import errno
import importlib
import logging
import os
import sys
import traceback
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final, NoReturn

import click

from nixdock.cli.locales import use_utf_8
from nixdock.cli.streams import prepare_streams, say_at_end
from nixdock.errors import InputError, NixdockError, ToolError
from nixdock.system.termination import TerminatedError, handle_termination, termination_held
from nixdock.system.text import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from click.shell_completion import CompletionItem

__all__ = ["KEY_PASSWORD", "SECTIONS", "main", "run"]

_COMPLETE: Final = "_NIXDOCK_COMPLETE"

KEY_PASSWORD: Final = "COSIGN_PASSWORD"
"""The variable with the password of a private key, also with cosign; it is moved to the context."""

# The commands with their summaries, in the order in which `--help` shows them.
SECTIONS: Final = {
    "Everyday commands": {
        "build": "Build an image from a spec.",
        "stream": "Write an image to standard output, as a docker-archive.",
        "push": "Build an image and push it to a registry.",
        "index": "Put images for several platforms into one index.",
        "load": "Bring an image into Docker, Podman or containerd.",
        "run": "Load an image and run it.",
        "inspect": "Show an image's config, layers and store paths.",
        "browse": "Look around in an image, or in two, in the terminal.",
        "verify": "Check every digest, size and count of an image, or its signature.",
        "plan": "Show which store paths would share a layer.",
        "diff": "Show what an update of an image transfers, and why.",
        "check": "Fail if an image breaks a policy for sizes, licences or files.",
        "sbom": "List the packages of an image, as SPDX or CycloneDX.",
        "demo": "Build an image from the small closure that comes with nixdock.",
    },
    "Other commands": {
        "closure": "Show the closure of store paths, also in binary caches.",
        "export": "Write an image's root file system as a tar.",
        "merge": "Combine the images of several files into one docker-archive.",
        "plan-family": "Plan several images together, so that they share layers.",
        "prefetch": "Fetch an image from a registry into the Nix store, for pullImage.",
        "schema": "Print the JSON Schema of an image spec.",
    },
    "Images in registries": {
        "serve": "Be a registry, from which images can be pulled.",
        "pull": "Fetch an image from a registry into a file or directory.",
        "copy": "Copy an image between registries, files and directories.",
        "sign": "Sign an image, or what is said of it.",
        "generate-key-pair": "Make a key pair to sign images with.",
        "tags": "List the tags of a repository in a registry.",
        "attach": "Attach a bill of materials or another file to an image.",
        "referrers": "List what is attached to an image, or read it.",
        "login": "Store a user name and password for a registry.",
        "logout": "Remove the credentials for a registry.",
    },
    "Building blocks, which the Nix library uses": {
        "resolve": "Plan a spec's layers, so that its graph is no longer needed.",
        "top-layer": "Pack the image's own files, for the top_layer of a spec.",
        "db": "Write a Nix database with the store paths of a closure.",
        "registration": "Print the registration text of a closure.",
        "tarsum": "Print a checksum of a tar that does not depend on its order.",
    },
}
_COMMANDS: Final = frozenset(name for section in SECTIONS.values() for name in section)
# Commands whose modules would otherwise have the name of a module in the standard library, or of a
# function here.
_MODULES: Final = {"copy": "copy_image", "inspect": "inspect_image", "run": "run_image"}

_LIMITS: Final = "raise the limit that ulimit -a or the container's settings show"

_debug: ContextVar[bool] = ContextVar("debug", default=False)


def _set_debug(_ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        _debug.set(True)


def _set_verbose(_ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        logging.getLogger("nixdock").setLevel(logging.DEBUG)


def _diagnostic_options() -> list[click.Parameter]:
    """Return the options that may be given before or after the subcommand's name."""
    return [
        click.Option(
            ["-v", "--verbose"],
            is_flag=True,
            expose_value=False,
            callback=_set_verbose,
            help="Show the command lines of child processes.",
        ),
        click.Option(
            ["--debug"],
            is_flag=True,
            expose_value=False,
            callback=_set_debug,
            help="Show a traceback before an error.",
        ),
    ]


class _LazyGroup(click.Group):
    """A group that knows its commands' summaries without loading their modules."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's signature)
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 (the same)
        if cmd_name not in _COMMANDS:
            return None
        name = _MODULES.get(cmd_name, cmd_name.replace("-", "_"))
        # An exception would crash modules in C that load others, such as orjson.
        with termination_held():
            command: click.Command = importlib.import_module(f"nixdock.cli.{name}").command
            # Some commands would load it when signals are not held any more.
            importlib.import_module("orjson")
            # Slow to load, and not needed to show the help.
            from nixdock.cli.overwriting import keeping_inputs
            from nixdock.cli.spec_errors import naming_specs
        if not any(param.name == "debug" for param in command.params):
            command.params += _diagnostic_options()
            if command.callback is not None:
                command.callback = naming_specs(keeping_inputs(command.callback))
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        # While a shell completes a line, click parses it resiliently, and there is nobody to tell.
        if name not in _COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            import difflib

            similar = difflib.get_close_matches(name, sorted(_COMMANDS))
            hint = f" Did you mean {' or '.join(map(repr, similar))}?" if similar else ""
            ctx.fail(f"No such command {name!r}.{hint}")
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        summaries = {name: text for section in SECTIONS.values() for name, text in section.items()}
        found = [
            CompletionItem(name, help=text)
            for name, text in summaries.items()
            if name.startswith(incomplete)
        ]
        return found + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 (the same)
        width = max(map(len, _COMMANDS))
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                # Pad the names, so that the summaries of all sections start in the same column.
                formatter.write_dl([(f"{name:<{width}}", text) for name, text in commands.items()])


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    params=_diagnostic_options(),
)
@click.version_option(package_name="nixdock")
def main() -> None:
    """Turn Nix closures into container images.

    `nixdock COMMAND --help` explains a command. The closure of any store path is the output of
    `nix path-info --json --recursive PATH`.
    """
    # Programs that are started, such as credential helpers, need not know it.
    click.get_current_context().meta[KEY_PASSWORD] = os.environ.pop(KEY_PASSWORD, None)


def run() -> NoReturn:
    """Run the command line and exit: 0 after success, 1 if the job failed, 2 for wrong input."""
    try:
        use_utf_8()
        handle_termination()
        prepare_streams()
        logging.basicConfig(format="%(message)s", handlers=[_LogLines()], level=logging.INFO)
        _check_completion(os.environ)
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
    except TerminatedError:
        say_at_end("error: terminated")
        raise
    except Exception as error:
        if _debug.get():
            traceback.print_exc()
        _fail(*_message_and_status(error))
    # All output is written and closed; tearing the interpreter down would only take time.
    if sys.stderr is not None:
        sys.stderr.flush()
    os._exit(status if isinstance(status, int) else 0)


def _check_completion(variables: Mapping[str, str]) -> None:
    """Raise InputError for a request of a shell that click ends without a word, or as a bug."""
    request = variables.get(_COMPLETE, "")
    shell, _, wanted = request.partition("_")
    if not request:
        return
    if shell not in {"bash", "fish", "zsh"} or wanted not in {"source", "complete"}:
        raise InputError(
            f"{_COMPLETE} is {request!r}; set it to bash_source, fish_source or zsh_source"
        )
    if wanted == "complete" and not {"COMP_WORDS", "COMP_CWORD"} <= variables.keys():
        raise InputError(f"{_COMPLETE} is {request!r}, but COMP_WORDS or COMP_CWORD is not set")


def _message_and_status(error: Exception) -> tuple[str, int]:
    if isinstance(error, ToolError):
        # What another program says may have several lines.
        return str(error), error.exit_status
    if isinstance(error, NixdockError):
        # Only a name, of a file for example, has lines: they could pass for other messages.
        return str(error).replace("\n", "\\n"), error.exit_status
    if lack := _lack(error):
        return f"{lack}; {_LIMITS}", 1
    if isinstance(error, FileNotFoundError) and error.filename is None and _is_nowhere():
        return "the current directory has been removed; change to one that exists", 1
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, OSError):
        name = error.filename if isinstance(error.filename, str) else ""
        where = f"{name}: ".replace("\n", "\\n") if name else ""
        return (f"{where}{error.strerror}" if error.strerror else text), 1
    return f"{text}; this is a bug in nixdock, and --debug shows where", 1


def _lack(error: Exception) -> str | None:
    """Return what the system did not give, if a limit of it is the cause of `error`."""
    if isinstance(error, MemoryError):
        return "there is not enough memory"
    if isinstance(error, BlockingIOError) and error.errno == errno.EAGAIN:
        return "can't start another process"
    if isinstance(error, RuntimeError) and "start new thread" in str(error):
        return "can't start another thread"
    if isinstance(error, OSError) and error.errno == errno.EMFILE:
        return "can't open another file"
    return None


def _is_nowhere() -> bool:
    """Tell whether the current directory is gone; what needs its path then gets a bare error."""
    try:
        os.getcwd()  # noqa: PTH109 (this module loads no pathlib)
    except FileNotFoundError:
        return True
    return False


class _LogLines(logging.StreamHandler):  # type: ignore[type-arg]
    """Write log records to standard error in the form of errors: `warning: MESSAGE`."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(f"{record.levelname.lower()}: {record.getMessage()}")


def _fail(message: str, status: int) -> NoReturn:
    click.echo(printable(f"error: {message}"), err=True)
    sys.exit(status)
