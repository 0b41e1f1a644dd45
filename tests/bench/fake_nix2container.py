"""A program that has the command of nix2container which the benchmarks use.

It is called as `python fake_nix2container.py layers-from-reproducible-storepaths OUTPUT GRAPH
--max-layers N`: it reads all files below each store path, and writes what layers there would be.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["layers-from-reproducible-storepaths"])
    parser.add_argument("output", type=Path)
    parser.add_argument("graph", type=Path)
    parser.add_argument("--max-layers", type=int, default=1)
    options = parser.parse_args()
    paths = [info["path"] for info in json.loads(options.graph.read_bytes())]
    alone, together = paths[: options.max_layers - 1], paths[options.max_layers - 1 :]
    layers = []
    for group in [*([path] for path in alone), *([together] if together else [])]:
        digest = hashlib.sha256()
        for path in group:
            for file in [Path(path), *sorted(Path(path).rglob("*"))]:
                if file.is_file() and not file.is_symlink():
                    digest.update(file.read_bytes())
        entries = [{"path": path} for path in group]
        layers.append({"digest": f"sha256:{digest.hexdigest()}", "paths": entries})
    options.output.write_text(json.dumps(layers))
    return 0


if __name__ == "__main__":
    sys.exit(main())
