"""The databases of rpm, compared with what rpm itself reads, and which of several counts."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nixdock import ImageError, list_packages
from nixdock.sbom.bill import SystemPackage
from nixdock.sbom.rpm import RPM_DATABASES, rpm_packages
from tests.unit.docker_archive import archive
from tests.unit.sbom.databases import BASH, hash_database, ndb_database, rpm_database, tar_of
from tests.unit.sbom.rpm_files import HASH, NDB, Form, package

SPEC = """\
Name: {name}
Version: 1.5
Release: 2
Epoch: 3
Summary: The {name}
Summary(de): Das {name}
License: MIT and BSD
URL: https://{name}.example
BuildArch: noarch
%description
%install
mkdir -p %{{buildroot}}/{name}
for number in $(seq 300); do echo $number > %{{buildroot}}/{name}/$number; done
%files
/{name}
"""
QUERY = (
    "%{NAME} %{EPOCH}:%{VERSION}-%{RELEASE} %{ARCH} %{SOURCERPM} %{URL} %{LICENSE}|%{SUMMARY}\\n"
)


def run(directory: Path, *command: object) -> str:
    """Run a program of rpm with `directory` as its home, and without settings of the machine."""
    env = {"PATH": os.environ["PATH"], "HOME": str(directory), "LC_ALL": "C"}
    done = subprocess.run(
        list(map(str, command)), env=env, check=True, stdout=subprocess.PIPE, cwd=directory
    )
    return done.stdout.decode()


def queried(directory: Path, database: Path) -> list[str]:
    return sorted(run(directory, "rpm", "--dbpath", database, "-qa", "--qf", QUERY).splitlines())


def as_queried(packages: Iterable[SystemPackage]) -> list[str]:
    return sorted(
        f"{each.name} {each.epoch}:{each.version} {each.architecture} {each.source} {each.homepage}"
        f" {each.license}|{each.description}"
        for each in packages
    )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database in which rpm has recorded three packages, one of them removed again."""
    directory = tmp_path_factory.mktemp("rpm")
    for name in ("one", "two", "gone"):
        spec = directory / f"{name}.spec"
        spec.write_text(SPEC.format(name=name))
        run(directory, "rpmbuild", "-bb", "--quiet", spec)
    rpm = ("rpm", "--dbpath", directory / "database", "--justdb", "--nodeps", "--force-debian")
    run(directory, *rpm, "-i", *sorted(directory.glob("rpmbuild/RPMS/noarch/*.rpm")))
    run(directory, *rpm, "-e", "gone")
    return directory / "database"


@pytest.mark.tools
def test_rpm_and_nixdock_read_the_same(installed: Path, tmp_path: Path) -> None:
    """The headers that rpm makes, in SQLite, Berkeley DB and ndb; rpm reads the first two."""
    expected = queried(tmp_path, installed)
    assert [line.partition(" ")[0] for line in expected] == ["one", "two"]
    with closing(sqlite3.connect(installed / "rpmdb.sqlite")) as connection:
        headers = [header for (header,) in connection.execute("select blob from Packages")]
    assert all(len(header) > 20_000 for header in headers)
    contents = rpm_packages(
        b"rpmdb.sqlite",
        (installed / "rpmdb.sqlite").read_bytes(),
        wal.read_bytes() if (wal := installed / "rpmdb.sqlite-wal").exists() else None,
        "x",
    )
    assert as_queried(contents) == expected
    hashed = hash_database(tmp_path, *headers)
    assert queried(tmp_path, tmp_path) == expected
    assert as_queried(HASH.read(hashed)) == expected
    assert as_queried(NDB.read(ndb_database(*headers))) == expected


def in_image(path: Path, files: dict[str, bytes]) -> list[str]:
    base = list_packages(archive(path / "image.tar", [tar_of(files)])).base
    assert base is not None
    return [each.name for each in base.packages] or [base.unread]


@pytest.mark.tools
@pytest.mark.parametrize("directory", ["var/lib/rpm", "usr/lib/sysimage/rpm"])
def test_the_database_that_rpm_prefers_counts(tmp_path: Path, directory: str) -> None:
    files = {
        f"{directory}/Packages": hash_database(tmp_path, package("old")),
        f"{directory}/Packages.db": ndb_database(package("ndb")),
        f"{directory}/rpmdb.sqlite": rpm_database(tmp_path, package("new")),
    }
    assert in_image(tmp_path, files) == ["new"]
    del files[f"{directory}/rpmdb.sqlite"]
    assert in_image(tmp_path, files) == ["ndb"]
    del files[f"{directory}/Packages.db"]
    assert in_image(tmp_path, files) == ["old"]


def test_an_image_with_a_damaged_database_is_refused(tmp_path: Path) -> None:
    database = ndb_database(package("ndb"))
    for name, data in (
        ("Packages.db", database[:-1]),
        ("rpmdb.sqlite", rpm_database(tmp_path)[:1000]),
    ):
        with pytest.raises(ImageError, match=f"/var/lib/rpm/{name} is not an rpm database: "):
            in_image(tmp_path, {f"var/lib/rpm/{name}": data})


@pytest.fixture(scope="session")
def databases(tmp_path_factory: pytest.TempPathFactory) -> dict[Form, bytes]:
    """A whole one of each form whose structure nixdock reads itself."""
    headers = (BASH, package("a"), package("b", "x" * 3000))
    # In small pages, so that changes reach the structure.
    hashed = hash_database(tmp_path_factory.mktemp("hashed"), *headers, page=512)
    return {HASH: hashed, NDB: ndb_database(*headers)}


@pytest.mark.tools
@given(
    st.sampled_from([HASH, NDB]),
    st.lists(st.tuples(st.integers(0, 1 << 13), st.integers(0, 255)), max_size=8),
    st.integers(0, 1 << 13) | st.none(),
)
@example(HASH, [], None)
@example(NDB, [], None)
def test_damage_is_refused(
    databases: dict[Form, bytes], form: Form, flips: Sequence[tuple[int, int]], cut: int | None
) -> None:
    data = bytearray(databases[form])
    for position, value in flips:
        data[position % len(data)] = value
    form.survives(bytes(data[:cut]))


@given(st.binary(max_size=2000), st.sampled_from(RPM_DATABASES))
def test_anything_else_has_an_unknown_format(data: bytes, name: bytes) -> None:
    Form(name.decode()).does_not_know(data, "^no .*database ")
