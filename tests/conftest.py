"""Settings and fixtures for the tests of several modules."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final
from zlib import crc32

import pytest
from hypothesis import settings

# No deadline: a busy machine is no failure. `fixed` has the same examples every time, `brief` and
# `quick` the same few, and `random` looks for new ones. The Makefile chooses by HYPOTHESIS_PROFILE.
settings.register_profile("random", deadline=None)
settings.register_profile("fixed", deadline=None, derandomize=True)
settings.register_profile("brief", deadline=None, derandomize=True, max_examples=40)
settings.register_profile("quick", deadline=None, derandomize=True, max_examples=10)
settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE") or ("fixed" if os.environ.get("CI") else "random")
)

_LONGEST_ID: Final = 100


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name a long value, which may have megabytes, by its start and a checksum."""
    if not isinstance(val, str | bytes) or len(val) <= _LONGEST_ID:
        return None
    data = val.encode("utf-8", "surrogatepass") if isinstance(val, str) else val
    return f"{val[:40]!a}...{crc32(data):08x}"


@pytest.fixture(scope="session")
def sample_spec() -> Callable[..., Path]:
    """Give a function that writes a spec, with its store and graph, into a directory.

    The store lies below `root` and has a tree, a plain file, a symbolic link and an app that
    refers to them all. The function's keyword arguments change the spec's keys.
    """

    def write(directory: Path, **changes: object) -> Path:
        libc, script, link, app = (
            f"/nix/store/{letter * 32}-{name}"
            for letter, name in zip("abcd", ("libc", "script", "link", "app"), strict=True)
        )
        root = directory / "root"
        links = {f"{libc}/lib/libc.so": "libc.so.6", link: f"{libc}/lib"}
        files = {
            f"{libc}/lib/libc.so.6": b"\x7fELF" + bytes(range(256)) * 12,
            f"{libc}/share/one": b"the same\n",
            f"{libc}/share/other": b"the same\n",
            f"{libc}/share/é": b"",
            script: b"#!/bin/sh\n",
            f"{app}/bin/app": b"program",
            f"{app}/etc/app.conf": b"on = true\n",
        }
        if not root.exists():
            for name, data in files.items():
                file = Path(f"{root}{name}")
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(data)
                file.chmod(0o555 if "/bin/" in name or name == script else 0o444)
            for name, target in links.items():
                Path(f"{root}{name}").symlink_to(target)
            for tree in root.glob("nix/store/*/**"):
                tree.chmod(0o555)
        references = {libc: [], script: [libc], link: [libc], app: [libc, script, link]}
        graph = [
            {"path": path, "narSize": 1000, "references": found, "narHash": f"sha256:{'0' * 52}"}
            for path, found in references.items()
        ]
        (directory / "graph.json").write_text(json.dumps(graph))
        spec = {
            "version": 1,
            "name": "x/y",
            "tag": "v1",
            "closure": {"graph": "graph.json"},
            "layering": {"strategy": "popularity"},
            "store": {"root": str(root)},
            "contents": [app],
            "extra_commands": "mkdir -m 1777 tmp",
            "config": {"Cmd": ["/bin/app"]},
        }
        file = directory / "spec.json"
        file.write_text(json.dumps(spec | changes))
        return file

    return write


@pytest.fixture(scope="session")
def sample_image(
    sample_spec: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Path]:
    """Give a function that puts the image of such a spec at a path, as a copy: it is built once.

    The keyword arguments are the options of the build, and what `sample_spec` takes.
    """
    built: dict[str, Path] = {}

    def write(
        target: Path, form: str = "archive", compression: str | None = None, **changes: object
    ) -> Path:
        # Loading it is not for tests that need none of it.
        import nixdock

        key = json.dumps([form, compression, changes], sort_keys=True)
        if key not in built:
            directory = tmp_path_factory.mktemp("sample")
            spec = nixdock.read_spec(sample_spec(directory, **changes))
            nixdock.build_image(spec, directory / "image", form=form, compression=compression)
            built[key] = directory / "image"
        if built[key].is_dir():
            shutil.copytree(built[key], target)
        else:
            shutil.copy(built[key], target)
        return target

    return write
