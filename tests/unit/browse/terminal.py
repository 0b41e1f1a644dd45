"""A real terminal: a program behind a pseudo-terminal, and a screen that shows what it writes."""

from __future__ import annotations

import copy
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyte

UP, DOWN, RIGHT, LEFT = (f"\x1b[{letter}" for letter in "ABCD")
ENTER, ESCAPE, TAB, CTRL_C, BACKSPACE = "\r", "\x1b", "\t", "\x03", "\x7f"

_PATIENCE = 60.0
# Synchronized output: whether the terminal has it, and the bounds of an update.
_ASKS_FOR_UPDATES, _HAS_UPDATES = b"\x1b[?2026$p", b"\x1b[?2026;2$y"
_UPDATE_BEGINS, _UPDATE_ENDS = b"\x1b[?2026h", b"\x1b[?2026l"
# Sequences of the keyboard protocol of kitty, which pyte would show, and the start of one.
_KEYBOARD = re.compile(rb"\x1b\[[<>=][0-9;]*u")
_STARTED = re.compile(rb"\x1b(?:\[(?:[<>=][0-9;]*)?)?\Z")


class Screen(pyte.Screen):
    """A screen that has another one for programs that take all of it, as terminals do."""

    _ALTERNATE = 1049

    def set_mode(self, *modes: int, **options: Any) -> None:
        if self._ALTERNATE in modes:
            self._main = copy.deepcopy(self.buffer), copy.copy(self.cursor)
            self.erase_in_display(2)
        super().set_mode(*modes, **options)

    def reset_mode(self, *modes: int, **options: Any) -> None:
        super().reset_mode(*modes, **options)
        if self._ALTERNATE in modes:
            self.buffer, self.cursor = self._main


@dataclass
class Terminal:
    """The terminal of a program that runs."""

    process: subprocess.Popen[bytes]
    descriptor: int
    screen: Screen
    settings: Sequence[Any]
    raw: bytearray = field(default_factory=bytearray)
    _held: bytes = b""

    def __post_init__(self) -> None:
        self._stream = pyte.ByteStream(self.screen)

    @property
    def lines(self) -> list[str]:
        return [line.rstrip() for line in self.screen.display]

    @property
    def text(self) -> str:
        return "\n".join(self.lines).rstrip()

    def press(self, *keys: str) -> None:
        for key in keys:
            os.write(self.descriptor, key.encode())
            # Two keys at once could be the sequence of another one.
            self.read(0.02)

    def wait(self, for_what: str | Callable[[], bool]) -> None:
        """Read until a text is on the screen, or a condition is true, and the screen is whole."""
        found = for_what if callable(for_what) else lambda: for_what in self.text
        end = time.monotonic() + _PATIENCE
        while not (self._is_whole and found()):
            assert time.monotonic() < end, f"{for_what!r} does not come:\n{self.text}"
            assert self.read(0.1) or self.process.poll() is None, self.text

    @property
    def _is_whole(self) -> bool:
        """Whether no update of the screen has begun that has not ended."""
        return self.raw.rfind(_UPDATE_BEGINS) <= self.raw.rfind(_UPDATE_ENDS)

    def resize(self, columns: int, lines: int) -> None:
        self.screen.resize(lines, columns)
        _set_size(self.descriptor, columns, lines)
        # The process group of the terminal gets it from the kernel only if it is in the foreground.
        self.process.send_signal(signal.SIGWINCH)

    def read(self, patience: float) -> bool:
        """Show what the program has written, and tell whether there was anything."""
        if not select.select([self.descriptor], [], [], patience)[0]:
            return False
        try:
            data = os.read(self.descriptor, 1 << 16)
        except OSError:
            # The program has closed its side.
            return False
        self.raw += data
        if _ASKS_FOR_UPDATES in data:
            os.write(self.descriptor, _HAS_UPDATES)
        data = _KEYBOARD.sub(b"", self._held + data)
        started = _STARTED.search(data)
        self._held = started[0] if started else b""
        self._stream.feed(data.removesuffix(self._held))
        return True

    def end(self) -> int:
        """Wait for the program's end, and return its exit status."""
        end = time.monotonic() + _PATIENCE
        while self.process.poll() is None:
            assert time.monotonic() < end, f"it does not end:\n{self.text}"
            self.read(0.05)
        while self.read(0):
            pass
        return self.process.returncode

    @property
    def is_sane(self) -> bool:
        """Whether the terminal is as the program found it."""
        written = bytes(self.raw)

        def last(on: bytes, off: bytes) -> bool:
            return written.rfind(off) >= written.rfind(on)

        return (
            termios.tcgetattr(self.descriptor) == self.settings
            and last(b"\x1b[?1049h", b"\x1b[?1049l")
            and last(b"\x1b[?25l", b"\x1b[?25h")
            and last(b"\x1b[?1000h", b"\x1b[?1000l")
            and last(b"\x1b[?2004h", b"\x1b[?2004l")
            and last(_UPDATE_BEGINS, _UPDATE_ENDS)
        )


@contextmanager
def terminal(
    command: Sequence[str | Path],
    env: Mapping[str, str],
    *,
    columns: int = 120,
    lines: int = 30,
) -> Iterator[Terminal]:
    """Run a program in a terminal of this size, and kill it in the end if it still runs."""
    ours, theirs = pty.openpty()
    _set_size(ours, columns, lines)
    settings = termios.tcgetattr(ours)
    # The size is that of the terminal, whatever that of pytest's is said to be.
    kept = {name: value for name, value in env.items() if name not in {"COLUMNS", "LINES"}}
    process = subprocess.Popen(
        [*map(str, command)],
        env={"TERM": "xterm-256color", **kept},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    # Kept open, so that the settings can be looked at after the end.
    try:
        yield Terminal(process, ours, Screen(columns, lines), settings)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(ours)
        os.close(theirs)


def _set_size(descriptor: int, columns: int, lines: int) -> None:
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
