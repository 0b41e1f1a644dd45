"""Two versions of a service, whose images the documentation shows."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping
from pathlib import Path

_LETTERS = "0123456789abcdfghijklmnpqrsvwxyz"
_FILES = {"bin": 0.2, "lib": 0.7, "share": 0.1}


def _packages(version: str) -> Mapping[str, tuple[int, list[str]]]:
    """Return the sizes and references of the store paths by their names."""
    libc = "glibc-2.40"
    return {
        libc: (900_000, []),
        "gcc-14-lib": (120_000, [libc]),
        "openssl-3.4.1": (300_000, [libc]),
        "zlib-1.3.1": (40_000, [libc]),
        "curl-8.13.0": (200_000, ["openssl-3.4.1", "zlib-1.3.1", libc]),
        "mailcap-2.1": (9_000, []),
        f"service-{version}": (30_000, ["curl-8.13.0", "gcc-14-lib", "mailcap-2.1"]),
    }


def store_path(name: str) -> str:
    digest = hashlib.sha256(name.encode()).digest()
    return f"/nix/store/{''.join(_LETTERS[byte % 32] for byte in digest)}-{name}"


def write_spec(directory: Path, version: str, **layering: str) -> Path:
    """Write a version of the service into a store in `directory`, and return its spec."""
    graph = []
    for name, (size, references) in _packages(version).items():
        path = store_path(name)
        for folder, share in _FILES.items():
            file = directory / f"root{path}" / folder / name.partition("-")[0]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(random.Random(name + folder).randbytes(int(share * size)))
            file.chmod(0o555 if folder == "bin" else 0o444)
        graph.append(
            {
                "path": path,
                "narSize": size + 1000,
                "references": [store_path(each) for each in references],
                "narHash": f"sha256:{hashlib.sha256(name.encode()).hexdigest()}",
            }
        )
    (directory / f"{version}.graph.json").write_text(json.dumps(graph))
    spec = {
        "version": 1,
        "name": "service",
        "tag": version,
        "closure": {"graph": f"{version}.graph.json"},
        "store": {"root": str(directory / "root")},
        "extra_commands": "mkdir etc && echo hello > etc/motd",
        "config": {"Entrypoint": [f"{store_path(f'service-{version}')}/bin/service"]},
        "layering": layering,
    }
    file = directory / f"service-{version}.json"
    file.write_text(json.dumps(spec))
    return file
