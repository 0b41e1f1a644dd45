"""A program that runs `nixdock` in forks of itself, with all modules loaded already.

Starting Python and loading modules takes longer than most commands do. A fork is as much of a
process: it has its own descriptors, environment, working directory and exit status.

It gets a socket as descriptor argv[1]. A request is a JSON object, with the standard streams as
descriptors; the answer is the exit status, negative for a signal.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import socket
import sys
import time
import traceback
from typing import Any

import nixdock
import nixdock.cli

MOST_REQUEST = 1 << 20
# A program, and a library that is none of Python.
NOT_LOADED = {"nixdock.__main__", "nixdock.native.packer"}


def load() -> None:
    for module in pkgutil.walk_packages(nixdock.__path__, "nixdock."):
        if module.name not in NOT_LOADED:
            importlib.import_module(module.name)
    gc.collect()
    gc.freeze()


def serve(server: socket.socket) -> None:
    while True:
        data, descriptors, _, _ = socket.recv_fds(server, MOST_REQUEST, 3)
        if not data:
            return
        child = os.fork()
        if not child:
            server.close()
            run(json.loads(data), descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        _, status = os.waitpid(child, 0)
        server.send(str(os.waitstatus_to_exitcode(status)).encode())


def run(request: dict[str, Any], descriptors: list[int]) -> None:
    """Become the program that the request describes."""
    status: object = 1
    try:
        for number, descriptor in enumerate(descriptors):
            os.dup2(descriptor, number)
            os.close(descriptor)
        os.environ.clear()
        os.environ.update(request["environment"])
        time.tzset()
        os.chdir(request["directory"])
        os.umask(request["umask"])
        sys.argv = ["nixdock", *request["arguments"]]
        nixdock.cli.run()
    except SystemExit as error:
        status = error.code
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status if isinstance(status, int) else 0)


if __name__ == "__main__":
    load()
    serve(socket.socket(fileno=int(sys.argv[1])))
