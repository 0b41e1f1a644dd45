"""Docker's daemon by its socket, with a server in its place."""

from __future__ import annotations

import json
import pwd
import socketserver
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nixdock.errors import ToolError
from nixdock.oci.reference import Reference
from nixdock.runtime.docker_daemon import ListedImage
from nixdock.runtime.docker_socket import DaemonBySocket, local_socket
from nixdock.system.buffers import Write

Answer = tuple[int, Any]
# Python's own reader gives up on such a document.
DEEP = "[" * 100_000


class FakeDaemon(socketserver.ThreadingUnixStreamServer):
    """Answers as it is told, and notes what it is asked for."""

    daemon_threads = True

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), Handler)
        self.path = path
        self.answers: dict[str, Answer] = {}
        self.log: list[str] = []
        self.bodies: list[bytes | None] = []
        self.refuses = False
        self.ended = threading.Event()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeDaemon

    def address_string(self) -> str:
        return "here"

    def log_message(self, *_: object) -> None:
        self.server.log.append(f"{self.command} {self.path}")

    def do_GET(self) -> None:
        self.reply(*self.server.answers.get(self.path.partition("?")[0], (404, {})))

    def do_POST(self) -> None:
        if self.headers.get("Transfer-Encoding") == "chunked" and not self.server.refuses:
            self.server.bodies.append(self.chunks())
        self.reply(*self.server.answers.get(self.path.partition("?")[0], (201, "")))
        self.close_connection = self.server.refuses
        self.server.ended.set()

    def chunks(self) -> bytes | None:
        """Return the body, or None if the client has gone before its end."""
        body = b""
        while size := int(self.rfile.readline() or b"-1", 16):
            if size < 0:
                return None
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def reply(self, status: int, value: Any) -> None:
        data = (value if isinstance(value, str) else json.dumps(value)).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        with suppress(BrokenPipeError):
            self.end_headers()
            self.wfile.write(data)


@pytest.fixture
def fake() -> Iterator[FakeDaemon]:
    # The kernel takes no long paths, and that of the tests' own files may be one.
    with (
        tempfile.TemporaryDirectory(dir="/tmp") as directory,
        FakeDaemon(Path(directory, "s")) as server,
    ):
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def daemon(fake: FakeDaemon) -> DaemonBySocket:
    return DaemonBySocket(fake.path)


def test_images_have_names_and_digests(fake: FakeDaemon, daemon: DaemonBySocket) -> None:
    fake.answers["/images/json"] = (
        200,
        [
            {"Id": "sha256:a", "RepoTags": ["x:1", "y:2"], "RepoDigests": ["x@sha256:b"]},
            {"Id": "sha256:c", "RepoTags": ["<none>:<none>"], "RepoDigests": None},
        ],
    )
    first, second = daemon.images()
    assert first == ListedImage("sha256:a", frozenset({"x:1", "y:2"}), frozenset({"sha256:b"}))
    assert second == ListedImage("sha256:c", frozenset(), frozenset())


def test_layers_of_an_image_that_has_gone_are_left_out(
    fake: FakeDaemon, daemon: DaemonBySocket
) -> None:
    fake.answers["/images/sha256%3Aa/json"] = 200, {"Id": "sha256:a", "RootFS": {"Layers": ["l"]}}
    fake.answers["/images/sha256%3Ac/json"] = 200, {"Id": "sha256:c", "RootFS": {}}
    assert [*daemon.chains(["sha256:a", "sha256:b", "sha256:c"])] == [["l"], []]


def test_errors_are_those_of_the_daemon(fake: FakeDaemon, daemon: DaemonBySocket) -> None:
    fake.answers["/images/x/json"] = 404, {"message": "No such image: x"}
    with pytest.raises(ToolError, match=r"^docker /images/x/json failed: No such image: x$"):
        daemon.image("x")
    fake.answers["/images/x/json"] = 500, "oh no"
    with pytest.raises(ToolError, match="oh no"):
        daemon.image("x")


@pytest.mark.parametrize(
    "answer", ["<html>", DEEP, [], {"RootFS": {}}, {"Id": "a", "RootFS": None}]
)
def test_what_is_no_docker_daemon(fake: FakeDaemon, daemon: DaemonBySocket, answer: object) -> None:
    fake.answers |= dict.fromkeys(("/images/x/json", "/images/json"), (200, answer))
    with pytest.raises(ToolError, match=f"what answers at {fake.path} is not a Docker daemon"):
        daemon.image("x")
    if answer:
        with pytest.raises(ToolError, match=r"its answer to /images/json.* has another form"):
            daemon.images()
    for other in ("<html>", DEEP):
        fake.answers["/version"] = 200, other
        with pytest.raises(ToolError, match="its answer to /version has another form"):
            daemon.version(60)
    fake.answers["/images/load"] = 200, "<html>"
    with pytest.raises(ToolError, match="its answer to /images/load has another form"):
        daemon.load(lambda write: write(b"x"))


@pytest.mark.parametrize(
    ("status", "found"),
    [([["driver-type", "io.containerd.snapshotter.v1"]], True), ([], False), (None, False)],
)
def test_where_images_are(
    fake: FakeDaemon, daemon: DaemonBySocket, status: object, found: bool
) -> None:
    fake.answers["/info"] = 200, {"DriverStatus": status}
    assert daemon.is_in_containerd() is found


def test_a_name_is_given(fake: FakeDaemon, daemon: DaemonBySocket) -> None:
    daemon.tag("sha256:a", Reference.parse("localhost:5000/x/y:v1"))
    assert fake.log == ["POST /images/sha256%3Aa/tag?repo=localhost%3A5000%2Fx%2Fy&tag=v1"]


def test_a_stream_is_sent(fake: FakeDaemon, daemon: DaemonBySocket) -> None:
    fake.answers["/images/load"] = 200, '{"stream":"Loaded"}\r\n{"stream":"x"}\r\n'

    def write_stream(write: Write) -> None:
        for data in (b"one", b"", memoryview(b"two"), bytes(100_000)):
            write(data)

    daemon.load(write_stream)
    assert fake.bodies == [b"onetwo" + bytes(100_000)]
    assert fake.log == ["POST /images/load?quiet=1"]


def test_a_stream_is_refused(fake: FakeDaemon, daemon: DaemonBySocket) -> None:
    fake.answers["/images/load"] = 200, '{"errorDetail":{"message":"no"},"error":"no layer"}\r\n'
    with pytest.raises(ToolError, match=r"^docker load failed: no layer$"):
        daemon.load(lambda write: write(b"data"))


def test_a_daemon_may_refuse_before_the_end(fake: FakeDaemon, daemon: DaemonBySocket) -> None:
    fake.answers["/images/load"] = 500, {"message": "the disk is full"}
    fake.refuses = True

    def write_stream(write: Write) -> None:
        while True:
            write(bytes(1 << 20))

    with pytest.raises(ToolError, match=r"the disk is full|does not answer"):
        daemon.load(write_stream)


def test_an_interrupt_breaks_off_the_stream(fake: FakeDaemon, daemon: DaemonBySocket) -> None:
    def write_stream(write: Write) -> None:
        write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        daemon.load(write_stream)
    assert fake.ended.wait(30)
    assert fake.bodies == [None]


def test_nobody_answers(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"does not answer: No such file or directory$"):
        DaemonBySocket(tmp_path / "none").version(1)


def test_the_socket_is_that_of_the_program(tmp_path: Path) -> None:
    context = tmp_path / ".docker/contexts/meta" / sha256(b"desktop").hexdigest()
    context.mkdir(parents=True)
    endpoint = {"Endpoints": {"docker": {"Host": "unix:///run/desktop.sock"}}}
    (context / "meta.json").write_text(json.dumps(endpoint))
    home = {"HOME": str(tmp_path)}
    default, desktop = Path("/var/run/docker.sock"), Path("/run/desktop.sock")
    assert local_socket(home) == default
    assert local_socket({}) == default
    assert local_socket({**home, "DOCKER_CONTEXT": "desktop"}) == desktop
    assert local_socket({**home, "DOCKER_CONTEXT": "other"}) is None
    assert local_socket({**home, "DOCKER_HOST": "unix:///s", "DOCKER_CONTEXT": "other"}) == Path(
        "/s"
    )
    assert local_socket({**home, "DOCKER_HOST": "tcp://127.0.0.1:1"}) is None
    config = tmp_path / ".docker/config.json"
    for text, found in (
        ('{"currentContext": "desktop"}', desktop),
        ('{"currentContext": "default"}', default),
        ("{}", default),
        ("[", default),
        (DEEP, default),
        ('{"currentContext": ["desktop"]}', default),
        ('{"currentContext": 1}', default),
    ):
        config.write_text(text)
        assert local_socket(home) == found
        assert local_socket({"HOME": "/none", "DOCKER_CONFIG": str(config.parent)}) == found
    (context / "meta.json").write_text(DEEP)
    for odd in ("desktop", "\udcff"):
        assert local_socket({**home, "DOCKER_CONTEXT": odd}) is None


def test_the_current_directory_is_nobodys_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its contexts would say which daemon gets the image."""
    context = tmp_path / ".docker/contexts/meta" / sha256(b"theirs").hexdigest()
    context.mkdir(parents=True)
    endpoint = {"Endpoints": {"docker": {"Host": "unix:///theirs.sock"}}}
    (context / "meta.json").write_text(json.dumps(endpoint))
    (tmp_path / ".docker/config.json").write_text('{"currentContext": "theirs"}')
    assert local_socket({"HOME": str(tmp_path)}) == Path("/theirs.sock")
    monkeypatch.chdir(tmp_path)
    own = SimpleNamespace(pw_dir="/none")
    monkeypatch.setattr(pwd, "getpwuid", lambda _: own)
    default = Path("/var/run/docker.sock")
    assert local_socket({}) == local_socket({"HOME": ""}) == default

    def unknown(_: int) -> None:
        raise KeyError

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert local_socket({}) == default
    own.pw_dir = str(tmp_path)
    monkeypatch.setattr(pwd, "getpwuid", lambda _: own)
    assert local_socket({}) == Path("/theirs.sock")
