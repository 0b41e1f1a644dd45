"""Running other programs: their results, the errors of starting them, and the log."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from nixdock.errors import ToolError
from nixdock.system.buffers import Write
from nixdock.system.commands import CommandResult, feed_command, run_command


def run_python(code: str) -> CommandResult:
    return run_command([sys.executable, "-c", code])


@pytest.mark.parametrize("status", [0, 1, 77])
def test_the_exit_status(status: int) -> None:
    assert run_python(f"import sys; sys.exit({status})").status == status


def test_the_signal_that_ended_a_command() -> None:
    result = run_python("import os, signal; os.kill(os.getpid(), signal.SIGTERM)")
    assert result.status == -signal.SIGTERM


def test_nothing_is_run_that_could_fail_without_a_word() -> None:
    """A program that ignores SIGCHLD may use the functions of nixdock, too."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        with pytest.raises(ToolError, match=r"^false is not started, .* to SIG_DFL$"):
            run_command(["false"])
        with pytest.raises(ToolError, match="this process ignores SIGCHLD"):
            feed_command(["false"], lambda _: None)
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_output_is_captured_as_bytes() -> None:
    result = run_python(
        r"import os; os.write(1, b'out\xff\n'); os.write(2, b'err\n'); os.write(1, b'\0')"
    )
    assert result == CommandResult(0, b"out\xff\n\0", b"err\n")


def test_much_output_on_both_streams() -> None:
    result = run_python("import os; [os.write(n, b'x' * 500) for _ in range(2000) for n in (1, 2)]")
    assert (len(result.output), len(result.error_output)) == (1_000_000, 1_000_000)


def test_output_to_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    result = run_command(
        [sys.executable, "-c", "import os; os.write(1, b'out,'); os.write(2, b'err')"],
        output_to_stderr=True,
    )
    assert result == CommandResult(0, b"", b"")
    assert capfd.readouterr() == ("", "out,err")


def test_standard_input_is_empty() -> None:
    assert run_python("import sys; print(repr(sys.stdin.read()))").output == b"''\n"


def test_input_is_fed() -> None:
    data = bytes(range(256)) * 4000

    def write_input(write: Write) -> None:
        for _ in range(5):
            write(data)
            write(memoryview(b"\n"))

    assert feed_command(["cat"], write_input) == CommandResult(0, (data + b"\n") * 5, b"")
    environment = {"WORD": "here"}
    done = feed_command(["/bin/sh", "-c", "echo $WORD"], lambda _: None, environment=environment)
    assert done == CommandResult(0, b"here\n", b"")


def test_a_command_may_end_before_its_input_does() -> None:
    def write_input(write: Write) -> None:
        while True:
            write(bytes(1 << 16))

    code = "import sys; print('no', file=sys.stderr); sys.exit(3)"
    done = feed_command([sys.executable, "-c", code], write_input)
    assert (done.status, done.reason()) == (3, "no")


def test_an_error_in_the_input_ends_the_command(tmp_path: Path) -> None:
    """It must not take the end of its input for the end of the data."""
    complete = tmp_path / "complete"

    def write_input(write: Write) -> None:
        write(b"half")
        raise KeyError("no more")

    with pytest.raises(KeyError):
        feed_command(["/bin/sh", "-c", f"cat >/dev/null && touch {complete}"], write_input)
    assert not complete.exists()
    with pytest.raises(ToolError, match="no-such-program is not in PATH"):
        feed_command(["no-such-program"], write_input)


def interrupted(_signal: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


@pytest.fixture
def alarm() -> Iterator[None]:
    """Let SIGALRM be an interrupt."""
    before = signal.signal(signal.SIGALRM, interrupted)
    yield
    signal.signal(signal.SIGALRM, before)


# Starts, lets its parent be interrupted, and cleans up when there is an end.
TIDY = """
import os, signal, sys, time
end, tidy = sys.argv[1:]
with open(tidy + ".pid", "w") as file:
    file.write(str(os.getpid()))
os.kill(os.getppid(), signal.SIGALRM)
while not os.path.exists(end):
    time.sleep(0.01)
print("x" * 100_000)
open(tidy, "w").close()
"""


@pytest.mark.usefixtures("alarm")
def test_a_command_that_is_abandoned_cleans_up(tmp_path: Path) -> None:
    end, tidy = tmp_path / "end", tmp_path / "tidy"
    argv = [sys.executable, "-c", TIDY, str(end), str(tidy)]
    with pytest.raises(KeyboardInterrupt):
        run_command(argv, abandon=end.touch)
    assert tidy.exists()


@pytest.mark.usefixtures("alarm")
def test_a_command_that_does_not_end_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nixdock.system.commands._MOST_SECONDS_TO_END", 0.1)
    tidy = tmp_path / "tidy"
    with pytest.raises(KeyboardInterrupt):
        run_command(
            [sys.executable, "-c", TIDY, str(tmp_path / "end"), str(tidy)], abandon=lambda: None
        )
    assert not tidy.exists()


@pytest.mark.usefixtures("alarm")
def test_a_second_interrupt_does_not_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nixdock.system.commands._MOST_SECONDS_TO_END", 3600)
    tidy = tmp_path / "tidy"
    argv = [sys.executable, "-c", TIDY, str(tmp_path / "end"), str(tidy)]
    with pytest.raises(KeyboardInterrupt):
        run_command(argv, abandon=lambda: signal.setitimer(signal.ITIMER_REAL, 0.05))
    assert not tidy.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "tidy.pid").read_text()), 0)


# Writes to its output, as programs do that show how far they are, and cleans up then.
WRITING = """
import sys
sys.stdin.read()
print("x", flush=True)
open(sys.argv[1], "w").close()
"""


@pytest.mark.parametrize("fed", [False, True])
def test_an_interrupt_while_a_command_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fed: bool
) -> None:
    class Interrupted(subprocess.Popen[bytes]):
        """A process that exists already when the signal comes, but not yet for its caller."""

        def _execute_child(self, *arguments: object) -> None:
            super()._execute_child(*arguments)  # type: ignore[misc]
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    tidy = tmp_path / "tidy"
    calls: list[object] = []
    argv = [sys.executable, "-c", WRITING, str(tidy)]
    with pytest.raises(KeyboardInterrupt):
        if fed:
            feed_command(argv, calls.append, spoil=b"bad")
        else:
            run_command(argv, abandon=lambda: calls.append(None))
    assert tidy.exists()
    assert len(calls) == (not fed)


def test_a_command_cleans_up_when_its_input_is_spoilt(tmp_path: Path) -> None:
    read = tmp_path / "read"

    def write_input(write: Write) -> None:
        write(b"half")
        raise KeyError("no more")

    argv = ["/bin/sh", "-c", f"cat >{read}.part; mv {read}.part {read}"]
    with pytest.raises(KeyError):
        feed_command(argv, write_input, spoil=b"bad")
    assert read.read_bytes() == b"halfbad"


@pytest.mark.usefixtures("alarm")
def test_an_interrupt_after_the_input_ends_the_command(tmp_path: Path) -> None:
    end, tidy = tmp_path / "end", tmp_path / "tidy"
    argv = [sys.executable, "-c", TIDY, str(end), str(tidy)]
    with pytest.raises(KeyboardInterrupt):
        feed_command(argv, lambda _: None)
    assert not tidy.exists()


def test_standard_input_is_passed_on() -> None:
    data = b"text \xff\n" * 100_000
    result = run_command(["cat"], standard_input=data)
    assert result == CommandResult(0, data, b"")
    assert run_command(["cat"], standard_input=b"") == CommandResult(0, b"", b"")


def test_a_command_need_not_read_its_standard_input() -> None:
    assert run_command(["true"], standard_input=b"x" * 1_000_000).status == 0


def test_directory_environment_and_umask(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    code = "import os; print(os.getcwd(), os.environ.get('A'), 'HOME' in os.environ, os.umask(0))"
    result = run_command(
        [sys.executable, "-c", code],
        directory=tmp_path / "d",
        environment={"A": "1"},
        umask=0o027,
    )
    assert result.output.decode() == f"{tmp_path}/d 1 False {0o027}\n"


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (CommandResult(1, b"out", b""), "exit status 1"),
        (CommandResult(-9, b"", b"\n"), "exit status -9"),
        (CommandResult(1, b"", b"first\nsecond \xff\n"), "first\nsecond \\xff"),
    ],
)
def test_the_reason_of_a_failure(result: CommandResult, reason: str) -> None:
    assert result.reason() == reason


# Commands that can't be run.


def test_a_program_that_is_not_in_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match=r"^no-such-tool is not in PATH: install it") as caught:
        run_command(["no-such-tool", "x"])
    assert caught.value.path == "no-such-tool"


def test_a_program_that_is_missing(tmp_path: Path) -> None:
    program = f"{tmp_path}/tool"
    with pytest.raises(ToolError, match=r"^tool can't be started: No such file") as caught:
        run_command([program])
    assert caught.value.path == program


def test_a_program_that_is_not_executable(tmp_path: Path) -> None:
    (tmp_path / "tool").write_text("")
    with pytest.raises(ToolError, match=r"^tool can't be started: Permission denied$"):
        run_command([f"{tmp_path}/tool"])


def test_a_directory_that_is_missing(tmp_path: Path) -> None:
    message = f"^sh can't be started in {tmp_path}/d, which is not a directory$"
    with pytest.raises(ToolError, match=message):
        run_command(["sh", "-c", ":"], directory=tmp_path / "d")


def test_a_timeout_ends_the_command() -> None:
    # Far longer than pytest's timeout: a test that waits for the command fails.
    with pytest.raises(ToolError, match=r"^sleep 3600 took longer than 0\.1 seconds$") as caught:
        run_command(["sleep", "3600", "1"], timeout=0.1)
    assert caught.value.path == "sleep"


# The log.


def test_the_log_has_the_command_line_but_not_the_environment(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "nixdock")
    result = run_command(
        ["/bin/sh", "-c", 'test -z "$TOKEN"'], environment={"TOKEN": "secret-value"}
    )
    assert result.status == 1
    assert {record.levelno for record in caplog.records} == {logging.DEBUG}
    assert caplog.messages == [
        "run: /bin/sh -c 'test -z \"$TOKEN\"'",
        "sh ended with exit status 1",
    ]
    assert "secret-value" not in caplog.text


def test_the_log_has_no_input_and_no_output(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "nixdock")
    assert run_command(["cat"], standard_input=b"secret-value").output == b"secret-value"
    assert caplog.messages == ["run: cat", "cat ended with exit status 0"]


def test_nothing_is_logged_above_debug_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "nixdock")
    run_command(["false"])
    assert caplog.messages == []
