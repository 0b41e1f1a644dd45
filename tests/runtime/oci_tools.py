"""Tools that read and copy images without running them."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .command import require_tool, run_tool
from .engine import environment_without
from .workspace import workspace


@dataclass(frozen=True)
class Skopeo:
    """References carry their transport, such as `docker://` or `oci-archive:`."""

    program: str
    env: Mapping[str, str]

    def copy(
        self, source: str, destination: str, *flags: str, preserve_digests: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Copy an image; by default fail rather than change a byte of its manifest."""
        preserve = ["--preserve-digests"] if preserve_digests else []
        tls = ["--src-tls-verify=false", "--dest-tls-verify=false"]
        return self._run("copy", *preserve, *tls, *flags, source, destination)

    def inspect(self, reference: str, *flags: str) -> dict[str, Any]:
        """Skopeo's summary of an image."""
        summary: dict[str, Any] = json.loads(self._inspect(reference, *flags))
        return summary

    def config(self, reference: str) -> dict[str, Any]:
        """The image's configuration."""
        return self.inspect(reference, "--config")

    def manifest(self, reference: str, *flags: str) -> bytes:
        """The manifest or index, byte for byte."""
        return self._inspect(reference, "--raw", *flags).encode()

    def digest(self, reference: str, *flags: str) -> str:
        """The digest of the manifest or index."""
        return f"sha256:{hashlib.sha256(self.manifest(reference, *flags)).hexdigest()}"

    def tags(self, repository: str) -> list[str]:
        """The tags of a repository, without a transport."""
        done = self._run("list-tags", "--tls-verify=false", f"docker://{repository}")
        return sorted(json.loads(done.stdout)["Tags"])

    def _inspect(self, reference: str, *flags: str) -> str:
        return self._run("inspect", "--tls-verify=false", *flags, reference).stdout

    def _run(self, *args: str) -> subprocess.CompletedProcess[str]:
        return run_tool([self.program, "--insecure-policy", *args], env=self.env)


@dataclass(frozen=True)
class Umoci:
    """The strictest reader: it checks every size, digest and diff id."""

    program: str

    def unpack(self, layout: Path, tag: str, destination: Path) -> Path:
        """Unpack a tag of an OCI layout into a new runtime bundle; its root file system."""
        rootless = [] if os.geteuid() == 0 else ["--rootless"]
        image = f"--image={layout}:{tag}"
        run_tool([self.program, "unpack", *rootless, image, destination])
        return destination / "rootfs"

    def stat(self, layout: Path, tag: str) -> dict[str, Any]:
        """The history of a tag, with the layer of each step."""
        done = run_tool([self.program, "stat", "--json", f"--image={layout}:{tag}"])
        stat: dict[str, Any] = json.loads(done.stdout)
        return stat

    def validate(self, layout: Path, tag: str) -> None:
        """Unpack it to nowhere."""
        with tempfile.TemporaryDirectory(prefix="nixdock-") as scratch:
            self.unpack(layout, tag, Path(scratch, "bundle"))


@contextmanager
def private_skopeo() -> Iterator[Skopeo]:
    """Skopeo without the user's credentials and registry settings."""
    program = require_tool("skopeo")
    with workspace() as space:
        yield Skopeo(
            program,
            environment_without("CONTAINERS_", "REGISTRY_")
            | {
                "CONTAINERS_REGISTRIES_CONF": str(space.file("registries.conf", "")),
                "REGISTRY_AUTH_FILE": str(space.file("auth.json", "{}")),
                "TMPDIR": str(space.directory("tmp")),
                "XDG_RUNTIME_DIR": str(space.directory("runtime")),
            },
        )
