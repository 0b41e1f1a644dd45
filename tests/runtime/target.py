"""Runtimes as `nixdock load` sees them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from .command import ToolError, wait_until
from .containerd import Containerd
from .engine import Docker, Engine

_ALONE = ("--network=none", "--pull=never")


@dataclass(frozen=True)
class Target:
    """A runtime, what nixdock needs to find it, and how to ask it."""

    name: str
    program: str
    env: Mapping[str, str]
    options: list[str]
    names: Callable[[], str]
    image: Callable[[str], str]
    """Returns the hexadecimal digits of the ID of an image."""

    passing: Callable[[], set[str]]
    """Returns what it has for the moment: while it pulls, but never after."""

    identity: str = "image"
    """What its IDs are: of `image`, the config's digest, and `digest`, the manifest's."""

    host: str = ""
    """What is before the names that it gives to images without a host."""

    knows_chains: bool = False
    """Whether it knows layers only together with those below."""


def engine_target(name: str, engine: Engine) -> Target:
    def image(reference: str) -> str:
        found: str = engine.inspect(reference)["Id"].removeprefix("sha256:")
        return found

    def names() -> str:
        return engine("images", "--all", "--digests").stdout

    def passing() -> set[str]:
        # Podman's files are in the directory of the test.
        files = map(str, Path(engine.env["TMPDIR"]).parent.glob("data-*/tmp/*"))
        return {line for line in names().splitlines() if "127.0.0.1" in line}.union(files)

    options = [f"--option={each}" for each in (*engine.container_options, *_ALONE)]
    target = Target(name, engine.command[0], engine.env, options, names, image, passing)
    if not isinstance(engine, Docker):
        return replace(target, host="localhost/")
    if engine.is_in_containerd:
        return replace(target, identity="digest")
    return replace(target, knows_chains=True)


def containerd_target(runtime: Containerd) -> Target:
    env = {
        **runtime.env,
        "CONTAINERD_ADDRESS": str(runtime.socket),
        "CONTAINERD_SNAPSHOTTER": "native",
    }

    def image(reference: str) -> str:
        listed = runtime("images", "ls", f"name==docker.io/{reference}").stdout
        digest = re.search(r"sha256:[0-9a-f]{64}", listed)
        assert digest is not None
        manifest = json.loads(runtime("content", "get", digest[0]).stdout)
        found: str = manifest["config"]["digest"].removeprefix("sha256:")
        return found

    def names() -> str:
        return runtime("images", "ls").stdout

    def active() -> list[str]:
        # The first line is the title.
        return runtime("content", "active").stdout.splitlines()[1:]

    def passing() -> set[str]:
        lists = (("leases", "ls", "--quiet"), ("images", "ls", "--quiet"))
        leases, images = (runtime(*words).stdout.splitlines() for words in lists)
        if not leases:
            # containerd collects what a lease kept a moment after the lease has gone.
            with suppress(ToolError):
                wait_until(lambda: not active())
        return {*leases, *active(), *(name for name in images if "127.0.0.1" in name)}

    options = [f"--option=--cgroup={runtime.cgroup}/load"]
    target = Target("containerd", runtime.program, env, options, names, image, passing)
    return replace(target, host="docker.io/")
