"""The part of GitHub's and GitLab's interfaces that comments on pull and merge requests."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "token-of-a-job"


@dataclass
class Forge:
    """The comments on a pull request, and what is asked of them."""

    url: str = ""
    comments: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    is_readable: bool = True
    is_writable: bool = True


@contextmanager
def forge() -> Iterator[Forge]:
    """Serve comments on loopback, at the paths of both interfaces."""
    state = Forge()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            self._begin()
            if not state.is_readable:
                self._answer(403, {"message": "Resource not accessible by integration"})
                return
            query = parse_qs(urlsplit(self.path).query)
            size, page = int(query["per_page"][0]), int(query["page"][0])
            shown = range(len(state.comments))[(page - 1) * size : page * size]
            listed = [{"url": self._url(at), "body": state.comments[at]} for at in shown]
            self._answer(200, listed)

        def do_POST(self) -> None:
            body = self._begin()
            if self.path == "/projects/7/merge_requests/3/notes":
                found = re.search(r'name="body"\r\n(?:.*\r\n)*?\r\n((?s:.*?))\r\n--', body)
                assert found, body
                state.comments.append(found[1])
            elif not state.is_writable:
                self._answer(403, {"message": "Resource not accessible by integration"})
                return
            else:
                assert self.path == "/repos/me/app/issues/3/comments"
                state.comments.append(json.loads(body)["body"])
            self._answer(201, {})

        def do_PATCH(self) -> None:
            body = self._begin()
            state.comments[int(self.path.rpartition("/")[2])] = json.loads(body)["body"]
            self._answer(200, {})

        def _begin(self) -> str:
            state.requests.append(f"{self.command} {self.path}")
            bearer, private = self.headers["Authorization"], self.headers["PRIVATE-TOKEN"]
            assert TOKEN in {private, (bearer or "").removeprefix("Bearer ")}
            length = int(self.headers["Content-Length"] or 0)
            return self.rfile.read(length).decode()

        def _url(self, at: int) -> str:
            return f"{state.url}/repos/me/app/issues/comments/{at}"

        def _answer(self, status: int, document: Any) -> None:
            data = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        state.url = f"http://127.0.0.1:{server.server_port}"
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()
