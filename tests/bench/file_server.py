"""A server of the files of a binary cache, which logs what it is asked for.

    python file_server.py DIRECTORY LOG [DELAY]

It prints its URL and runs until it is terminated. Each answer comes after DELAY seconds. It does no
more than a client of a cache needs, because it runs on the cores with which the client is measured.
"""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import TextIO


class _Handler(StreamRequestHandler):
    directory: Path
    log: TextIO
    delay = 0.0
    disable_nagle_algorithm = True

    def handle(self) -> None:
        """Answer requests until the client closes the connection."""
        with suppress(ConnectionError):
            while line := self.rfile.readline():
                while self.rfile.readline().strip():
                    pass
                time.sleep(self.delay)
                self._answer(line.split()[1].decode())

    def _answer(self, path: str) -> None:
        self.log.write(f"{path}\n")
        try:
            file = (self.directory / path.lstrip("/")).open("rb")
        except OSError:
            self.wfile.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            return
        with file:
            size = file.seek(0, 2)
            file.seek(0)
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
            self.connection.sendfile(file)


class _Server(ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 64


def main(directory: str, log: str, delay: str = "0") -> None:
    """Serve a directory on a port that the kernel picks."""
    _Handler.directory = Path(directory)
    _Handler.delay = float(delay)
    with (
        Path(log).open("a", buffering=1) as _Handler.log,
        _Server(("127.0.0.1", 0), _Handler) as server,
    ):
        print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
