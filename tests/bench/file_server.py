"""A server of the files of a binary cache, which logs what it is asked for.

    python file_server.py DIRECTORY LOG [DELAY]

It prints its URL and runs until it is terminated. Each answer comes after DELAY seconds.
"""

from __future__ import annotations

import sys
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class _Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    log_file: Path
    delay = 0.0
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """Answer with a file."""
        time.sleep(self.delay)
        super().do_GET()

    def copyfile(self, source: Any, outputfile: Any) -> None:
        """Let the kernel send the file: what is measured is the client."""
        outputfile.flush()
        self.connection.sendfile(source)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        with self.log_file.open("a") as log:
            log.write(f"{self.path}\n")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


def main(directory: str, log: str, delay: str = "0") -> None:
    """Serve a directory on a port that the kernel picks."""
    _Handler.log_file = Path(log)
    _Handler.delay = float(delay)
    with _Server(("127.0.0.1", 0), partial(_Handler, directory=directory)) as server:
        print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
