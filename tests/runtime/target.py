"""Runtimes as `nixdock load` sees them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .containerd import Containerd
from .engine import Engine


@dataclass(frozen=True)
class Target:
    """A runtime, what nixdock needs to find it, and how to ask it."""

    name: str
    env: Mapping[str, str]
    options: list[str]
    names: Callable[[], str]
    image: Callable[[str], str]


def engine_target(name: str, engine: Engine) -> Target:
    def image(reference: str) -> str:
        found: str = engine.inspect(reference)["Id"].removeprefix("sha256:")
        return found

    def names() -> str:
        return engine("images", "--all", "--digests").stdout

    options = [*engine.container_options, "--network=none", "--pull=never"]
    return Target(name, engine.env, [*(f"--option={each}" for each in options)], names, image)


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

    options = [f"--option=--cgroup={runtime.cgroup}/load"]
    return Target("containerd", env, options, lambda: runtime("images", "ls").stdout, image)
