"""Bases that were never made by Nix: a real Debian, and what Docker itself makes of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from nixdock.face.images import verify_image
from nixdock.read.opening import open_image

from ..nix.harness import Nix
from ..runtime.engine import Docker, Podman
from ..runtime.oci_tools import Skopeo
from .debian_root import debian_root

pytestmark = [pytest.mark.nix, pytest.mark.runtime, pytest.mark.xdist_group("containers")]

GREETING = "Hello, world!"

DOCKERFILE = """
FROM debian-root:imported
ENV PATH=/usr/sbin:/usr/bin:/bin FROM_BASE=base
RUN mkdir -p /srv/dir /srv/whole && echo a > /srv/dir/a && echo x > /etc/gone && echo 1 > /srv/one
ENV LAST=base
RUN rm /etc/gone && rm -r /srv/dir /srv/whole && mkdir /srv/dir && echo b > /srv/dir/b
LABEL maker=docker
RUN chown 12:34 /srv/one && chmod 4755 /srv/one && ln /srv/one /srv/two
CMD ["/bin/sh", "-c", "cat /srv/one"]
"""


@dataclass(frozen=True)
class Base:
    """An image of Docker's, as it was saved and as skopeo copied it."""

    name: str
    saved: Path
    layout: Path

    def path(self, form: str) -> Path:
        return self.saved if form == "saved" else self.layout


@pytest.fixture(scope="session")
def bases(
    docker: Docker, skopeo: Skopeo, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Base]:
    """A root file system that was imported, one that was built upon, one that was committed."""
    directory = tmp_path_factory.mktemp("bases")
    docker("import", debian_root(), "debian-root:imported")
    (directory / "context").mkdir()
    (directory / "context/Dockerfile").write_text(DOCKERFILE)
    docker("build", "--network=none", "--tag=debian-root:built", directory / "context")
    container = docker.start(
        "debian-root:built",
        *("/bin/sh", "-c", "rm /srv/two /srv/dir/b; echo committed > /srv/dir/c"),
        network="none",
    )
    docker("wait", container)
    docker("commit", "--change", "ENV LAST=commit", container, "debian-root:committed")
    docker("rm", container)
    found = {}
    for tag in ("imported", "built", "committed"):
        saved, layout = directory / f"{tag}.tar", directory / tag
        docker.save(f"debian-root:{tag}", saved)
        skopeo.copy(f"docker-archive:{saved}", f"oci:{layout}:{tag}")
        found[tag] = Base(f"debian-root:{tag}", saved, layout)
    return found


@pytest.fixture(scope="session")
def hello(nix: Nix) -> Path:
    return nix.build("pkgs.hello")


def build(directory: Path, nix: Nix, hello: Path, base: Path, form: str) -> Path:
    """Build the program upon the base, by a plain spec."""
    graph = nix.nix("path-info", "--json", "--recursive", str(hello))
    (directory / "graph.json").write_text(graph)
    spec = {
        "version": 1,
        "name": f"on-{base.stem}",
        "tag": "t",
        "from_image": {"path": str(base)},
        "closure": {"graph": "graph.json"},
        "contents": [str(hello)],
        "extra_commands": "mkdir -p bin sbin; echo own > bin/own; echo own > sbin/own",
        "config": {"Cmd": ["/bin/hello"], "Env": ["LAST=child", "OWN=1"]},
        "max_layers": 20,
    }
    (directory / "spec.json").write_text(json.dumps(spec))
    target = directory / "image"
    nixdock("build", directory / "spec.json", "-q", "--format", form, "-o", target)
    return target


def nixdock(*args: str | Path) -> None:
    command = [sys.executable, "-m", "nixdock", *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr


def described(path: Path) -> tuple[dict[str, Any], list[str]]:
    """An image's config, and its diff_ids."""
    with open_image(path) as file:
        config: dict[str, Any] = json.loads(file.images[0].config_data)
        return config, [layer.diff_id for layer in file.images[0].layers]


@pytest.mark.parametrize("tag", ["imported", "built", "committed"])
@pytest.mark.parametrize("base_form", ["saved", "layout"])
@pytest.mark.parametrize("form", ["docker-archive", "archive"])
def test_layers_and_history_of_the_base_are_kept(
    bases: dict[str, Base],
    nix: Nix,
    hello: Path,
    tmp_path: Path,
    tag: str,
    base_form: str,
    form: str,
) -> None:
    base = bases[tag].path(base_form)
    image = build(tmp_path, nix, hello, base, form)
    assert verify_image(image).problems == ()
    below, lower = described(base)
    config, layers = described(image)
    assert layers[: len(lower)] == lower
    assert len(layers) > len(lower) + 1
    assert len({*layers}) == len(layers)
    made = [entry for entry in config["history"] if not entry.get("empty_layer")]
    assert len(made) == len(layers)
    for old, new in zip(below["history"], config["history"], strict=False):
        assert new == {key: value for key, value in old.items() if value}
    if tag != "imported":
        assert any(entry.get("empty_layer") for entry in config["history"])


ENVIRONMENTS = {
    "imported": ["LAST=child", "OWN=1"],
    "built": ["PATH=/usr/sbin:/usr/bin:/bin", "FROM_BASE=base", "LAST=child", "OWN=1"],
    "committed": ["PATH=/usr/sbin:/usr/bin:/bin", "FROM_BASE=base", "LAST=child", "OWN=1"],
}


@pytest.mark.parametrize("tag", ["imported", "built", "committed"])
@pytest.mark.parametrize("base_form", ["saved", "layout"])
def test_programs_of_both_run_in_docker(
    docker: Docker,
    bases: dict[str, Base],
    nix: Nix,
    hello: Path,
    tmp_path: Path,
    tag: str,
    base_form: str,
) -> None:
    archive = build(tmp_path, nix, hello, bases[tag].path(base_form), "archive")
    image = docker.load(archive)
    assert docker.inspect(image)["Config"]["Env"] == ENVIRONMENTS[tag]
    check_programs(docker, image, tag)


@pytest.mark.parametrize("form", ["docker-archive", "archive", "oci-archive"])
def test_programs_of_both_run_in_podman(
    podman: Podman, bases: dict[str, Base], nix: Nix, hello: Path, tmp_path: Path, form: str
) -> None:
    image = podman.load(build(tmp_path, nix, hello, bases["committed"].layout, form))
    check_programs(podman, image, "committed")


def check_programs(runtime: Docker | Podman, image: str, tag: str) -> None:
    def run(script: str) -> str:
        return runtime.run(image, "/bin/bash", "-c", script).stdout

    assert runtime.run(image).stdout.strip() == GREETING
    assert run("echo $((6 * 7)) | sed s/4/2/ | grep .") == "22\n", "the base's programs"
    assert run("readlink /bin /sbin /lib /lib64").split() == [
        *("usr/bin", "usr/sbin", "usr/lib", "usr/lib64"),
    ]
    assert run("cat /usr/bin/own /bin/own /usr/sbin/own") == "own\n" * 3
    assert GREETING in run("/usr/bin/hello")
    assert "Debian" in run("cat /etc/os-release")
    if tag == "built":
        assert run("cat /srv/dir/*; ls -A /srv") == "b\ndir\none\ntwo\n"
        assert run("stat -c '%a %u %g' /srv/one /srv/two") == "4755 12 34\n" * 2
    elif tag == "committed":
        assert run("cat /srv/dir/*; ls -A /srv") == "committed\ndir\none\n"
    if tag != "imported":
        assert run("test ! -e /etc/gone && echo gone") == "gone\n"


@pytest.mark.parametrize("tag", ["imported", "built", "committed"])
@pytest.mark.parametrize("base_form", ["saved", "layout"])
def test_an_export_is_what_docker_exports(
    docker: Docker, bases: dict[str, Base], tmp_path: Path, tag: str, base_form: str
) -> None:
    container = docker("create", bases[tag].name, "/nothing").stdout.strip()
    try:
        docker("export", "--output", tmp_path / "docker.tar", container)
    finally:
        docker("rm", container)
    nixdock("export", bases[tag].path(base_form), "-o", tmp_path / "ours.tar")
    ours, theirs = files(tmp_path / "ours.tar"), files(tmp_path / "docker.tar")
    for name in {*theirs} - {*ours}:
        assert name.split("/")[0] in {".dockerenv", "dev", "etc", "proc", "sys"}, name
    # What Docker puts over a container's own.
    for name in ("etc/hostname", "etc/hosts", "etc/mtab", "etc/resolv.conf"):
        ours.pop(name, None)
    assert len(ours) > 1000
    assert {name: theirs[name] for name in ours} == ours


def files(path: Path) -> dict[str, tuple[object, ...]]:
    """Each file's kind, mode and owner, with its bytes or target; hard links are both."""
    found: dict[str, tuple[object, ...]] = {}
    with tarfile.open(path) as tar:
        for member in tar:
            content = tar.extractfile(member) if member.isreg() or member.islnk() else None
            found[os.path.normpath(member.name)] = (
                tarfile.REGTYPE if content else member.type,
                *(member.mode & 0o7777, member.uid, member.gid),
                content.read() if content else member.linkname,
            )
    found.pop(".", None)
    return found


def test_dockers_images_are_merged(
    docker: Docker, bases: dict[str, Base], nix: Nix, hello: Path, tmp_path: Path
) -> None:
    own = build(tmp_path, nix, hello, bases["built"].saved, "docker-archive")
    inputs = [bases["built"].saved, own, bases["committed"].layout]
    nixdock("merge", *inputs, "-o", tmp_path / "merged.tar", "--compression", "none")
    assert (tmp_path / "merged.tar").stat().st_size < 2 * bases["built"].saved.stat().st_size
    assert verify_image(tmp_path / "merged.tar").problems == ()
    names = docker.load_all(tmp_path / "merged.tar")
    assert names[:2] == ["debian-root:built", "on-built:t"]
    assert docker.run(names[0]).stdout == "1\n"
    check_programs(docker, names[1], "built")
    with open_image(tmp_path / "merged.tar") as file:
        first, _, last = (image.config_digest for image in file.images)
    assert first == docker.inspect("debian-root:built")["Id"]
    assert last == docker.inspect("debian-root:committed")["Id"]
