"""What all commands have in common: help, wrong usage, `-v`, `--debug`, and errors."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from nixdock.cli import _LIMITS, _check_completion, _message_and_status
from nixdock.errors import InputError
from tests.unit.cli.program import run_text

COMMANDS = (
    "build", "db", "demo", "diff", "export", "inspect", "login", "logout", "merge", "plan",
    "plan-family", "prefetch", "registration", "resolve", "schema", "stream", "tarsum",
    "top-layer", "verify",
)  # fmt: skip


def nixdock(
    *arguments: object, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return run_text(*arguments, env=env)


@pytest.mark.parametrize("words", ["none", "plan", "plan --none", "plan x --max-layers y"])
def test_wrong_usage_is_status_2(words: str) -> None:
    done = nixdock(*words.split())
    assert done.returncode == 2
    assert "Usage: nixdock" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: ")


def test_help_is_complete() -> None:
    text = nixdock("--help").stdout
    for name in (*COMMANDS, "-v, --verbose", "--debug", "--version", "-h, --help"):
        assert f"  {name} " in text


def test_help_shows_everyday_commands_first() -> None:
    text = nixdock("--help").stdout
    titles = [
        "Everyday commands:",
        "Other commands:",
        "Building blocks, which the Nix library uses:",
    ]
    places = [text.index(title) for title in titles]
    assert places == sorted(places)
    for name, first, last in (("build", 0, 1), ("merge", 1, 2), ("tarsum", 2, None)):
        end = None if last is None else places[last]
        assert f"\n  {name} " in text[places[first] : end]


@pytest.mark.parametrize("command", ["build", "plan", "diff"])
def test_help_has_examples(command: str) -> None:
    text = nixdock(command, "--help").stdout
    assert "\n  Examples:\n    " in text
    assert f"\n    nixdock {command} " in text


def test_a_mistyped_command() -> None:
    done = nixdock("biuld")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1] == "error: No such command 'biuld'. Did you mean 'build'?"
    assert nixdock("xyz").stderr.splitlines()[-1] == "error: No such command 'xyz'."


def test_help_loads_nothing_heavy() -> None:
    script = (
        "import sys, nixdock.cli;"
        "heavy = {'networkx', 'rich', 'msgspec', 'orjson', 'urllib3', 'waitress'};"
        "print(*heavy & sys.modules.keys())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    done = nixdock(command, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"Usage: nixdock {command} ")
    for option in ("-v, --verbose", "--debug", "-h, --help"):
        assert done.stdout.count(f"  {option} ") == 1


def test_debug_shows_a_traceback_in_either_position(tmp_path: Path) -> None:
    file = tmp_path / "none"
    assert "Traceback" not in nixdock("plan", file).stderr
    for words in (("--debug", "plan", file), ("plan", "--debug", file), ("plan", file, "--debug")):
        done = nixdock(*words)
        assert done.returncode == 2
        assert done.stderr.startswith("Traceback")
        assert f"nixdock.errors.InputError: can't read the graph {file}" in done.stderr
        assert done.stderr.splitlines()[-1].startswith(f"error: can't read the graph {file}")


@pytest.mark.slow
def test_verbose_shows_command_lines_in_either_position(
    sample_spec: Callable[..., Path], tmp_path: Path
) -> None:
    spec = sample_spec(tmp_path)
    secret = "a secret of the environment"

    def log_of_build(*words: str) -> list[str]:
        done = nixdock(*words, spec, "-o", tmp_path / "x", env={**os.environ, "TOKEN": secret})
        assert done.returncode == 0, done.stderr
        assert secret not in done.stderr
        assert "TOKEN" not in done.stderr
        return done.stderr.splitlines()

    assert log_of_build("build", "-q") == []
    for words in (("-v", "build", "-q"), ("build", "-q", "-v"), ("build", "-q", "--verbose")):
        log = log_of_build(*words)
        # The script that runs the spec's commands makes the command line more than one line.
        assert any(line.startswith("debug: run: ") for line in log)
        assert log[-1].startswith("debug: ")


@pytest.mark.slow
def test_commands_that_write_a_file_say_so_on_a_terminal(
    sample_spec: Callable[..., Path], tmp_path: Path
) -> None:
    spec = sample_spec(tmp_path)
    image, graph = tmp_path / "image.tar", tmp_path / "graph.json"
    assert nixdock("build", "-q", spec, "-o", image).returncode == 0
    for words, line in (
        (("resolve", spec), "x/y:v1 with 4 layers of store paths, [0-9.]+ kB"),
        (("top-layer", spec), "the own files of x/y:v1"),
        (("export", image), f"the root file system of {image}, [0-9.]+ kB"),
        (("merge", image), "the images of 1 location, [0-9.]+ kB"),
        (("db", graph), f"4 store paths of {graph}"),
        (("plan", graph), "the plan of 4 store paths, [0-9.]+ k?B"),
    ):
        for on_terminal in (False, True):
            target = tmp_path / f"{words[0]}-{on_terminal}"
            ours, theirs = pty.openpty()
            command = [sys.executable, "-m", "nixdock", *map(str, words), "-o", str(target)]
            errors = theirs if on_terminal else subprocess.PIPE
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=errors, check=True)
            assert done.stdout == b""
            if on_terminal:
                shown = os.read(ours, 4096).decode()
                assert re.fullmatch(f"wrote {target}[a-z/]*: {line}\r\n", shown), shown
            else:
                assert done.stderr == b""
            os.close(ours)
            os.close(theirs)


def test_an_unexpected_error_is_a_bug() -> None:
    script = (
        "import nixdock.cli, nixdock.cli.schema as schema;"
        "schema.command.callback = lambda: {}['x'];"
        "nixdock.cli.run()"
    )

    def error_of(*words: str) -> str:
        command = [sys.executable, "-c", script, *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        return done.stderr

    assert error_of("schema") == (
        "error: KeyError: 'x'; this is a bug in nixdock, and --debug shows where\n"
    )
    assert error_of("schema", "--debug").startswith("Traceback")


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"_NIXDOCK_COMPLETE": "foo_source"}, "is 'foo_source'; set it to bash_source"),
        ({"_NIXDOCK_COMPLETE": "bash_foo"}, "is 'bash_foo'; set it to bash_source"),
        ({"_NIXDOCK_COMPLETE": "bash_complete", "COMP_WORDS": "x"}, "or COMP_CWORD is not set"),
    ],
)
def test_a_wrong_request_for_completions(variables: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        _check_completion(variables)


@pytest.mark.parametrize("request_", ["", "bash_source", "fish_source", "zsh_complete"])
def test_a_request_for_completions(request_: str) -> None:
    words = {"COMP_WORDS": "nixdock", "COMP_CWORD": "1"}
    _check_completion({"_NIXDOCK_COMPLETE": request_, **words})


def test_a_current_directory_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    try:
        os.path.abspath("image.tar")  # noqa: PTH100 (the error that it raises is the same)
    except FileNotFoundError as error:
        message, status = _message_and_status(error)
    assert message == "the current directory has been removed; change to one that exists"
    assert status == 1
    monkeypatch.chdir(tmp_path)
    assert _message_and_status(FileNotFoundError(2, "gone")) == ("gone", 1)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(5, "Input/output error"), "Input/output error"),
        (OSError(5, "Input/output error", "x.tar"), "x.tar: Input/output error"),
        (OSError(5, "Input/output error", 3), "Input/output error"),
        (OSError(24, "Too many open files", "x.tar"), f"can't open another file; {_LIMITS}"),
        (OSError("something else"), "OSError: something else"),
    ],
)
def test_an_error_of_the_system(error: OSError, message: str) -> None:
    assert _message_and_status(error) == (message, 1)


# Runs the command line in argv with a limit that is reached when it first starts a thread.
LIMITED = """
import sys, threading
import nixdock.cli
from tests.unit.cli.program import run_text
def refuse(self):
    raise {error}
threading.Thread.start = refuse
nixdock.cli.run()
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("error", "message"),
    [
        ('RuntimeError("can\'t start new thread")', "can't start another thread"),
        ('BlockingIOError(11, "Resource temporarily unavailable")', "can't start another process"),
        ("MemoryError", "there is not enough memory"),
    ],
)
def test_limits_are_not_called_bugs(
    sample_spec: Callable[..., Path], tmp_path: Path, error: str, message: str
) -> None:
    spec = sample_spec(tmp_path)
    image = tmp_path / "image.tar"
    assert nixdock("build", spec, "-q", "-o", image).returncode == 0
    other = tmp_path / "other"
    for command in (
        ["verify", image],
        ["inspect", image],
        ["merge", image, "-o", other, "--compression", "gzip"],
        ["build", spec, "-q", "-o", other, "--format", "docker-archive"],
    ):
        program = [sys.executable, "-c", LIMITED.format(error=error), *map(str, command)]
        done = subprocess.run(program, capture_output=True, text=True, check=False)
        limits = "raise the limit that ulimit -a or the container's settings show"
        assert done.stderr == f"error: {message}; {limits}\n"
        assert done.returncode == 1
        assert not other.exists()


def test_control_characters_of_messages_are_escaped(tmp_path: Path) -> None:
    spec = tmp_path / "spec.json"
    spec.write_text('{"version": 1, "name": "n", "a\\u001b]0;x\\u0007\\u202e": 1}')
    name = "\x1b[31mred\n::error::x.json"
    for words in (["build", spec, "--dry-run"], ["verify", tmp_path / name], [name]):
        done = nixdock(*words)
        assert done.returncode == 2
        assert "\\x1b" in done.stderr
        assert all(c.isprintable() or c == "\n" for c in done.stderr)
        assert not any(line.startswith("::") for line in done.stderr.splitlines())
