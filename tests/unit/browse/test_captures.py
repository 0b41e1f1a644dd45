"""The documentation shows the browser as it is.

With REWRITE_CAPTURES=1 in the environment, the test writes what it compares with.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

import nixdock

from ..cli.program import environment
from .service import store_path, write_spec
from .terminal import ENTER, Terminal, terminal

PAGE = Path(__file__).parents[3] / "docs/browse.md"
BLOCK = re.compile(r"^```text\n((?s:.*?))^```\n", re.MULTILINE)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory with the image of one version of a service, and the spec of the next one."""
    old = tmp_path / "service-1.9.tar"
    nixdock.build_image(nixdock.read_spec(write_spec(tmp_path, "1.9")), old, compression="gzip")
    write_spec(tmp_path, "2.0", previous="service-1.9.tar")
    return tmp_path


def captured(shown: Terminal) -> str:
    """Return the lines of the screen, without empty ones but one between others."""
    text = "\n".join(line.rstrip() for line in shown.lines).strip("\n")
    return re.sub(r"\n{3,}", "\n\n", text) + "\n"


def test_the_captures_in_the_documentation(directory: Path) -> None:
    captures = []
    browse = [sys.executable, "-m", "nixdock", "browse"]
    env = environment(NO_COLOR="1")
    with terminal([*browse, directory / "service-2.0.json"], env, columns=92, lines=15) as shown:
        shown.wait("? help")
        shown.press("p", "a")
        chosen = f"{store_path('glibc-2.40')}\nin layer 1"
        shown.wait(lambda: "added▼" in shown.text and chosen in shown.text)
        captures.append(captured(shown))
        shown.press("/openssl", ENTER)
        shown.wait("1 store path with openssl")
        shown.press("w")
        shown.wait(lambda: "Why openssl" in shown.text and "Esc close" in shown.text)
        captures.append(captured(shown))
    both = [directory / "service-1.9.tar", directory / "service-2.0.json"]
    with terminal([*browse, *both], env, columns=112, lines=18) as shown:
        shown.wait("? help")
        shown.press("G", "k")
        shown.wait("service-2.0 is new, in place of service-1.9")
        captures.append(captured(shown))
    page = PAGE.read_text()
    if os.environ.get("REWRITE_CAPTURES"):
        waiting = iter(captures)
        page = BLOCK.sub(lambda _: f"```text\n{next(waiting)}```\n", page)
        PAGE.write_text(page)
    assert BLOCK.findall(page) == captures
