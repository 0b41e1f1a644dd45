"""Images from the sandbox run: in Docker and Podman, from every form, and unpacked."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from ..runtime.command import free_port
from ..runtime.engine import Docker, Podman
from ..runtime.oci_tools import Skopeo, Umoci
from ..runtime.registry import Registry
from .conftest import Library

pytestmark = [pytest.mark.nix, pytest.mark.runtime, pytest.mark.xdist_group("containers")]

GREETING = "Hello, world!"
HELLO = 'name = "hello"; tag = "v1"; config.Cmd = [ "${pkgs.hello}/bin/hello" ];'


@pytest.mark.parametrize("compressor", ["none", "gz"])
def test_docker_runs_an_image(library: Library, docker: Docker, compressor: str) -> None:
    archive = library.build(f'nixdock.buildLayeredImage {{ {HELLO} compressor = "{compressor}"; }}')
    image = docker.load(archive)
    assert image == "hello:v1"
    assert docker.run(image).stdout.strip() == GREETING


@pytest.mark.parametrize("compressor", ["none", "gz"])
def test_docker_runs_the_combined_archive(
    library: Library, docker: Docker, compressor: str
) -> None:
    archive = library.build(
        f'nixdock.buildLayeredImage {{ {HELLO} format = "archive"; compressor = "{compressor}"; }}'
    )
    assert docker.run(docker.load(archive)).stdout.strip() == GREETING


@pytest.mark.parametrize("engine", ["docker", "podman"])
def test_a_stream_is_loaded_from_a_pipe(
    library: Library, engine: str, request: pytest.FixtureRequest
) -> None:
    runtime: Docker | Podman = request.getfixturevalue(engine)
    stream = library.build(f"nixdock.streamLayeredImage {{ {HELLO} }}")
    with subprocess.Popen([stream, "-t", "other:Tag"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        image = runtime.load(process.stdout)
    assert process.returncode == 0
    assert image.endswith("other:Tag")
    assert runtime.run(image).stdout.strip() == GREETING


@pytest.mark.parametrize("compressor", ["none", "gz", "zstd", "zstd:chunked", "estargz"])
@pytest.mark.parametrize("form", ["oci-archive", "archive"])
def test_podman_runs_archives(library: Library, podman: Podman, form: str, compressor: str) -> None:
    archive = library.build(
        f'nixdock.buildLayeredImage {{ {HELLO} format = "{form}"; compressor = "{compressor}"; }}'
    )
    assert podman.run(podman.load(archive)).stdout.strip() == GREETING


@pytest.mark.parametrize("compressor", ["none", "gz", "zstd"])
def test_a_layout_goes_through_a_registry_and_back(
    library: Library,
    podman: Podman,
    skopeo: Skopeo,
    registry: Registry,
    repository: str,
    tmp_path: Path,
    compressor: str,
) -> None:
    layout = library.build(
        f'nixdock.buildLayeredImage {{ {HELLO} compressor = "{compressor}";'
        ' format = "oci-layout"; }'
    )
    there = f"docker://{registry.reference(repository, 'v1')}"
    back = f"oci:{tmp_path / 'back'}:v1"
    skopeo.copy(f"oci:{layout}:v1", there)
    skopeo.copy(there, back)
    digest = skopeo.digest(f"oci:{layout}:v1")
    assert skopeo.digest(there) == digest == skopeo.digest(back)
    image = podman.pull(there, "--tls-verify=false")
    assert podman.run(image).stdout.strip() == GREETING


def test_umoci_unpacks_a_tree_equal_to_the_closure(
    library: Library, umoci: Umoci, tmp_path: Path
) -> None:
    layout = library.build(
        f'nixdock.buildLayeredImage {{ {HELLO} format = "oci-layout"; maxLayers = 3;'
        " contents = [ pkgs.bash pkgs.coreutils ]; }"
    )
    root = umoci.unpack(layout, "v1", tmp_path / "bundle")
    closure = library.closure_of("[ pkgs.hello pkgs.bash pkgs.coreutils ]")
    unpacked = sorted(p.name for p in (root / "nix/store").iterdir())
    assert unpacked == sorted(path.name for path in closure)
    for path in closure:
        assert _tree(root / path.relative_to("/")) == _tree(path)
    assert (root / "bin/bash").readlink().parts[:3] == ("/", "nix", "store")


def _tree(top: Path) -> dict[str, tuple[int, bytes]]:
    """Return each file's mode and content, or link target."""
    found = {}
    for path in (top, *top.rglob("*")):
        info = path.lstat()
        content = (
            os.readlink(path).encode()
            if stat.S_ISLNK(info.st_mode)
            else path.read_bytes()
            if stat.S_ISREG(info.st_mode)
            else b""
        )
        found[str(path.relative_to(top))] = (info.st_mode, content)
    return found


def test_nginx_serves(library: Library, docker: Docker) -> None:
    port = free_port()
    archive = library.build(
        f"""let
          conf = pkgs.writeText "nginx.conf" ''
            daemon off; user root; pid /tmp/nginx.pid; error_log stderr;
            events {{ }}
            http {{ access_log off; client_body_temp_path /tmp/body; proxy_temp_path /tmp/proxy;
                   fastcgi_temp_path /tmp/fastcgi; uwsgi_temp_path /tmp/uwsgi;
                   scgi_temp_path /tmp/scgi;
                   server {{ listen 127.0.0.1:{port}; root ${{pages}}; }} }}
          '';
          pages = pkgs.writeTextDir "index.html" "served from the store";
        in nixdock.buildLayeredImage {{
          name = "nginx"; tag = "t"; compressor = "none";
          extraCommands = ''
            mkdir -m 1777 tmp; mkdir -p etc var/log/nginx var/lib/nginx
            echo root:x:0:0::/:/bin/sh > etc/passwd; echo root:x:0: > etc/group
          '';
          config = {{ Cmd = [ "${{pkgs.nginx}}/bin/nginx" "-e" "stderr" "-c" conf ];
                     ExposedPorts."80/tcp" = {{ }}; }};
        }}"""
    )
    with docker.running(docker.load(archive)):
        page = _eventually(lambda: _get(f"http://127.0.0.1:{port}/"))
    assert page == b"served from the store"


def test_redis_answers(library: Library, docker: Docker) -> None:
    port = free_port()
    archive = library.build(
        f"""nixdock.buildLayeredImage {{
          name = "redis"; tag = "t"; compressor = "none"; extraCommands = "mkdir data";
          config = {{ WorkingDir = "/data"; Cmd = [ "${{pkgs.redis}}/bin/redis-server"
            "--port" "{port}" "--bind" "127.0.0.1" "--protected-mode" "no" ]; }};
        }}"""
    )
    with docker.running(docker.load(archive)):
        assert _eventually(lambda: _ask(port, b"PING\r\n")) == b"+PONG\r\n"


def test_python_imports_numpy(library: Library, docker: Docker) -> None:
    archive = library.build(
        """let python = pkgs.python3.withPackages (ps: [ ps.numpy ]);
        in nixdock.buildLayeredImage {
          name = "numpy"; tag = "t"; compressor = "none"; contents = [ python ]; maxLayers = 20;
          config.Cmd = [ "/bin/python3" "-c" "import numpy; print(numpy.arange(5).sum())" ];
        }"""
    )
    assert docker.run(docker.load(archive)).stdout.strip() == "10"


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=5) as response:
        content: bytes = response.read()
        return content


def _ask(port: int, question: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(question)
        return connection.recv(100)


def _eventually(ask: object, seconds: float = 20) -> bytes:
    assert callable(ask)
    end = time.monotonic() + seconds
    while True:
        try:
            answer: bytes = ask()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return answer
