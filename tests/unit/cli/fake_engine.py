"""A program that pulls, tags and removes images as Docker and Podman do, without running them.

Its state is the JSON file that FAKE_ENGINE names: the images by their names, and the blobs it has.
It is called as `python fake_engine.py KIND SUBCOMMAND...`.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from pathlib import Path
from typing import Any


def main(kind: str, command: str, *arguments: str) -> int:
    file = Path(os.environ["FAKE_ENGINE"])
    state: dict[str, Any] = {"names": {}, "blobs": [], "log": []}
    if file.exists():
        state = json.loads(file.read_text())
    state["log"].append([command, *arguments])
    words = [word for word in arguments if not word.startswith("-")]
    status = 0
    if command in state.get("fails", []):
        print(f"the daemon refuses to {command}", file=sys.stderr)
        status = 1
    elif command == "version":
        print("Client: Podman Engine" if kind == "podman" else "Client:\n Version: 20.10")
    elif command == "pull" and state.get("remote"):
        print("dial tcp 127.0.0.1: connect: connection refused", file=sys.stderr)
        status = 1
    elif command == "pull":
        pull(state, words[0])
    elif command == "tag":
        state["names"][words[1]] = state["names"][words[0]]
    elif command == "rmi":
        del state["names"][words[0]]
    elif command == "load":
        state["loaded"] = Path(words[0]).stat().st_size
        state["names"]["loaded"] = "loaded"
    elif command == "run":
        print("ran", *arguments)
        status = 7
    file.write_text(json.dumps(state))
    return status


def pull(state: dict[str, Any], reference: str) -> None:
    place, _, digest = reference.partition("@")
    host, _, repository = place.partition("/")

    def fetch(path: str) -> bytes:
        with urllib.request.urlopen(f"http://{host}/v2/{repository}/{path}") as answer:
            data: bytes = answer.read()
            return data

    manifest = json.loads(fetch(f"manifests/{digest}"))
    for blob in (manifest["config"], *manifest["layers"]):
        if blob["digest"] not in state["blobs"]:
            assert len(fetch(f"blobs/{blob['digest']}")) == blob["size"]
            state["blobs"].append(blob["digest"])
    state["names"][reference] = manifest["config"]["digest"]


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
