"""The figure of a server from which many clients pull a whole image at once."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from http.client import HTTPConnection
from pathlib import Path
from typing import Final

from nixdock.oci.media_types import MANIFEST_MEDIA_TYPE

from .figure import Figure, nixdock
from .measure import Sampler

__all__ = ["serving_figure"]

_MB: Final = 1_000_000
_CLIENTS: Final = 64
_MOST: Final = 300 * _MB
_PIECE: Final = 1 << 20
_PATIENCE: Final = 600


def serving_figure(spec: Path) -> Figure:
    """Let clients pull the image of a spec; measure the memory of the server's processes."""
    command = nixdock("serve", "-q", str(spec), "--compression", "none", "--no-cache")
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    sampler = Sampler()
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        if server.stdout is None:
            raise AssertionError("there is no pipe")
        try:
            address, _, path = server.stdout.readline().strip().partition("/")
            sampler.start(server.pid)
            repository, _, tag = path.rpartition(":")
            start = time.perf_counter()
            size = _pulled(address, f"/v2/{repository}", tag)
            seconds = time.perf_counter() - start
        finally:
            sampler.stop()
            # It says then that it was terminated.
            server.terminate()
    measured = f"{sampler.most / _MB:.0f} MB; {size / _MB:.0f} MB to each in {seconds:.1f} s"
    ok = sampler.most < _MOST
    name = f"serve to {_CLIENTS} clients, memory"
    return Figure(name, measured, sampler.most, f"< {_MOST / _MB:.0f} MB", ok)


def _pulled(address: str, base: str, tag: str) -> int:
    """Let all clients pull the image at the same time; return its size in bytes."""
    connection = _connected(address)
    connection.request("GET", f"{base}/manifests/{tag}", headers={"Accept": MANIFEST_MEDIA_TYPE})
    manifest = json.loads(connection.getresponse().read())
    blobs = {each["digest"]: each["size"] for each in (manifest["config"], *manifest["layers"])}
    numbers = range(_CLIENTS)
    with ThreadPoolExecutor(_CLIENTS) as clients:
        for sizes in clients.map(lambda i: _sizes(address, base, blobs, check=i == 0), numbers):
            if sizes != blobs:
                raise SystemExit(f"clients got blobs of other sizes: {sizes}, not {blobs}")
    return sum(blobs.values())


def _sizes(address: str, base: str, digests: Iterable[str], *, check: bool) -> dict[str, int]:
    """Read all blobs as one client; return their sizes, and compare their digests if wanted."""
    connection = _connected(address)
    buffer = memoryview(bytearray(_PIECE))
    sizes = {}
    for digest in digests:
        connection.request("GET", f"{base}/blobs/{digest}")
        answer = connection.getresponse()
        actual = sha256()
        size = 0
        while count := answer.readinto(buffer):
            size += count
            if check:
                actual.update(buffer[:count])
        if check and digest != f"sha256:{actual.hexdigest()}":
            raise SystemExit(f"a client got another blob than {digest}")
        sizes[digest] = size
    return sizes


def _connected(address: str) -> HTTPConnection:
    host, _, port = address.rpartition(":")
    return HTTPConnection(host, int(port), timeout=_PATIENCE)
