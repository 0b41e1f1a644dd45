"""A program that has images as Docker and Podman do, without running them.

Its state is the JSON file that FAKE_ENGINE names: the IDs of images by their names, the layers of
images by their IDs, and the blobs that were pulled. As the classic store of Docker does, it takes a
layer that is not in an archive from an image that has it on top of the same ones.
It is called as `python fake_engine.py KIND SUBCOMMAND...`.
"""

from __future__ import annotations

import io
import json
import os
import sys
import tarfile
import urllib.request
from hashlib import sha256
from pathlib import Path
from typing import Any


def main(kind: str, command: str, *arguments: str) -> int:
    file = Path(os.environ["FAKE_ENGINE"])
    state: dict[str, Any] = {"names": {}, "images": {}, "blobs": [], "log": []}
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
        state["names"][words[1]] = state["names"].get(words[0], words[0])
    elif command == "rmi":
        del state["names"][words[0]]
    elif command == "load":
        status = load(state)
    elif command == "info":
        print(json.dumps([["driver-type", state.get("driver", "overlay2")]]))
    elif command == "image" and words[0] == "ls":
        list_images(state)
    elif command == "image" and words[0] == "inspect":
        status = inspect(state, *words[1:])
    elif command == "run":
        print("ran", *arguments)
        status = state.get("status", 0)
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
    identity = manifest["config"]["digest"]
    for blob in (manifest["config"], *manifest["layers"]):
        if blob["digest"] not in state["blobs"]:
            data = fetch(f"blobs/{blob['digest']}")
            assert len(data) == blob["size"]
            state["blobs"].append(blob["digest"])
            if blob["digest"] == identity:
                state["images"][identity] = json.loads(data)["rootfs"]["diff_ids"]
    state["names"][reference] = identity


def load(state: dict[str, Any]) -> int:
    data = sys.stdin.buffer.read()
    state["loaded"] = [*state.get("loaded", []), len(data)]
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        files = {member.name: tar.extractfile(member) for member in tar}
        contents = {name: file.read() if file else b"" for name, file in files.items()}
    if "containerd" in state.get("driver", ""):
        return load_layout(state, contents)
    (manifest,) = json.loads(contents["manifest.json"])
    config = contents[manifest["Config"]]
    chain = json.loads(config)["rootfs"]["diff_ids"]
    for height, (name, diff_id) in enumerate(zip(manifest["Layers"], chain), 1):  # noqa: B905
        if name in contents:
            assert sha256(contents[name]).hexdigest() == diff_id.removeprefix("sha256:")
        elif state.get("forgets") or not any(
            other[:height] == chain[:height] for other in state["images"].values()
        ):
            print(f"open {name}: no such file or directory", file=sys.stderr)
            return 1
    identity = f"sha256:{sha256(config).hexdigest()}"
    state["images"][identity] = chain
    for name in manifest["RepoTags"]:
        state["names"][name] = state.get("mistakes", identity)
    return 0


def load_layout(state: dict[str, Any], contents: dict[str, bytes]) -> int:
    """Load an image as containerd does, for which the digest of the manifest is the ID."""

    def blob(descriptor: dict[str, Any]) -> dict[str, Any]:
        data = contents[f"blobs/{descriptor['digest'].replace(':', '/')}"]
        found: dict[str, Any] = json.loads(data)
        return found

    for entry in json.loads(contents["index.json"])["manifests"]:
        name = entry["annotations"]["io.containerd.image.name"]
        familiar = name.removeprefix("docker.io/").removeprefix("library/")
        replaced = state["names"].pop(familiar, None)
        if replaced is not None and replaced not in state["names"].values():
            # Garbage may be collected just before the layers are used.
            del state["images"][replaced]
        there = {layer for image in state["images"].values() for layer in image}
        manifest = blob(entry)
        chain = blob(manifest["config"])["rootfs"]["diff_ids"]
        # The layers are not compressed.
        for layer in chain:
            is_there = layer in there and not state.get("forgets")
            if f"blobs/{layer.replace(':', '/')}" not in contents and not is_there:
                print(f"content digest {layer}: not found", file=sys.stderr)
                return 1
        state["images"][entry["digest"]] = chain
        state["names"][familiar] = state.get("mistakes", entry["digest"])
    return 0


def list_images(state: dict[str, Any]) -> None:
    in_containerd = "containerd" in state.get("driver", "")
    for identity in state["images"]:
        names = [name for name, own in state["names"].items() if own == identity]
        for name in names or ["<none>:<none>"]:
            print(identity, identity if in_containerd else "<none>", name)


def inspect(state: dict[str, Any], template: str, *names: str) -> int:
    for name in names:
        identity = state["names"].get(name, name)
        if identity not in state["images"]:
            print(f"no such image: {name}", file=sys.stderr)
            return 1
        layers = json.dumps(state["images"][identity])
        print(template.replace("{{.Id}}", identity).replace("{{json .RootFS.Layers}}", layers))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
