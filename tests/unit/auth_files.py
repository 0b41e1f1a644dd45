"""Credential files and helpers for tests, in a home directory of their own."""

from __future__ import annotations

import base64
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SECRET = "hunter2-is-a-secret"


def basic(user: str = "user", password: str = SECRET) -> dict[str, str]:
    """Return an entry with a user name and password."""
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def auths(**users: str) -> dict[str, Any]:
    """Return a document with an entry for each host, where `_` stands for a dot."""
    return {"auths": {host.replace("_", "."): basic(user) for host, user in users.items()}}


@dataclass(frozen=True)
class Home:
    """A user's directories and environment, below `root`."""

    root: Path

    @property
    def environment(self) -> dict[str, str]:
        """The environment of programs, which find helpers and the system's programs."""
        return {
            "HOME": str(self.root / "home"),
            "PATH": f"{self.root / 'bin'}{os.pathsep}/usr/bin{os.pathsep}/bin",
            "XDG_RUNTIME_DIR": str(self.root / "runtime"),
        }

    def write(self, name: str, document: object) -> Path:
        """Write a file below the root: JSON, or text as it is."""
        file = self.root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(document if isinstance(document, str) else json.dumps(document))
        return file

    def helper(self, name: str, script: str) -> Path:
        """Write a credential helper."""
        file = self.write(f"bin/docker-credential-{name}", f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)
        return file

    def keeping_helper(self, name: str) -> Path:
        """Write a credential helper that keeps each server's request in a file."""
        kept = self.root / "kept"
        kept.mkdir(exist_ok=True)
        script = f"""
            input=$(cat)
            case $1 in
              store) server=$(printf %s "$input" | sed 's/.*"ServerURL":"\\([^"]*\\)".*/\\1/') ;;
              *) server=$input ;;
            esac
            file={kept}/$(printf %s "$server" | tr / _)
            case $1 in
              store) printf %s "$input" > "$file" ;;
              get) cat "$file" 2> /dev/null ;;
              erase) rm "$file" 2> /dev/null ;;
            esac || {{ echo "credentials not found in native keychain"; exit 1; }}
        """
        return self.helper(name, script)
