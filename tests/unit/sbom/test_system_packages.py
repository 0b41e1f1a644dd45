"""The packages of distributions, in the merged files of layers."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from nixdock import ImageError, list_packages
from nixdock.sbom.bill import BasePart, SystemPackage
from tests.unit.docker_archive import File, archive, layer, link
from tests.unit.sbom.databases import APK, BASH, DPKG, OS_RELEASE, header, rpm_database, tar_of
from tests.unit.sbom.readers import cyclonedx, spdx


def base_of(path: Path, *layers: Sequence[File]) -> BasePart:
    file = archive(path / "image.tar", [layer(*files) for files in layers])
    base = list_packages(file).base
    assert base is not None
    return base


def test_dpkg(tmp_path: Path) -> None:
    base = base_of(tmp_path, [("var/lib/dpkg/status", DPKG), ("etc/os-release", OS_RELEASE)])
    assert (base.distribution, base.release, base.unread) == ("debian", "12", "")
    assert base.title == "Debian GNU/Linux 12 (bookworm)"
    assert base.packages == (
        SystemPackage("deb", "dash", "0.5.12-2", "amd64"),
        SystemPackage(
            "deb", "libc6", "2.36-9+deb12u4", "amd64", source="glibc@2.36-9",
            homepage="https://libc.example", description="GNU C Library",
        ),
    )  # fmt: skip


def test_files_of_single_packages(tmp_path: Path) -> None:
    """As images without a package manager have them."""
    text = "Package: tzdata\nVersion: 2024a\nArchitecture: all\n"
    base = base_of(
        tmp_path,
        [("var/lib/dpkg/status.d/tzdata", text), ("var/lib/dpkg/status.d/tzdata.md5sums", "1  x")],
    )
    assert base.packages == (SystemPackage("deb", "tzdata", "2024a", "all"),)


def test_empty_databases_tell_nothing(tmp_path: Path) -> None:
    base = base_of(tmp_path, [("var/lib/dpkg/status", "\n"), ("lib/apk/db/installed", "")])
    assert (base.packages, base.unread.startswith("no database")) == ((), True)


def test_packages_are_found_whoever_has_made_the_layers(tmp_path: Path) -> None:
    """A script may install some, and what an image says of its layers need not be true."""
    below = {"var/lib/dpkg/status": DPKG.encode(), "etc/os-release": OS_RELEASE.encode()}
    above = {"var/lib/dpkg/status": DPKG.replace("dash", "zsh").encode()}
    own = {"created_by": "nixdock: the image's own files"}
    for histories, layers in (([{}, own], 1), ([own, own], 2)):
        tars = [tar_of(below), tar_of(above)]
        file = archive(tmp_path / "image.tar", tars, history=histories)
        base = list_packages(file).base
        assert base is not None
        assert [each.name for each in base.packages] == ["libc6", "zsh"]
        assert len(base.diff_ids) == layers
    empty = archive(tmp_path / "own.tar", [layer(("etc/passwd", "x"))], history=[own])
    assert list_packages(empty).base is None


def test_a_package_that_two_databases_describe_is_one(tmp_path: Path) -> None:
    """Its identifier in a document must be unique."""
    text = "Package: dash\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1\n"
    files: list[File] = [
        ("var/lib/dpkg/status", text),
        ("var/lib/dpkg/status.d/dash", f"{text}Description: a shell\n"),
    ]
    file = archive(tmp_path / "image.tar", [layer(*files)])
    bill = list_packages(file)
    assert bill.base is not None
    assert bill.base.packages == (SystemPackage("deb", "dash", "1", "amd64", description="a shell"),)  # fmt: skip # noqa: E501
    spdx(bill)
    cyclonedx(bill)


STATUS = "var/lib/dpkg/status"
INSTALLED = "lib/apk/db/installed"
PACKAGES = "".join(f"Package: p{i}\nVersion: 1\n\n" for i in range(3))
PARTS = [f"{STATUS}.d/{i}" for i in range(3)]
TOTAL = "bytes, but the databases of dpkg and apk may have at most 40 bytes in total"


@pytest.mark.parametrize(
    ("limit", "files", "message"),
    [
        ("_MOST_OS_RELEASE", {"etc/os-release": 41}, "has 41 bytes, but it may have at most 40"),
        ("_MOST_DATABASES", {STATUS: 41}, f"/{STATUS} has 41 {TOTAL}"),
        ("_MOST_DATABASES", dict.fromkeys(PARTS, 15), f"/{PARTS[2]} has 15 {TOTAL}"),
        ("_MOST_DATABASES", {STATUS: 30, INSTALLED: 30}, f"/{INSTALLED} has 30 {TOTAL}"),
        ("_MOST_RPM", {"var/lib/rpm/Packages": 41}, "rpm/Packages has 41 .* may have at most 40"),
    ],
)
def test_sizes_of_files(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    limit: str,
    files: dict[str, int],
    message: str,
) -> None:
    """What is read is bounded, each file and all together, and the error names file and limit."""
    monkeypatch.setattr(f"nixdock.sbom.system_packages.{limit}", 40)
    base_of(tmp_path, [(name, "\n" * 10) for name in files])
    with pytest.raises(ImageError, match=message):
        base_of(tmp_path, [(name, "\n" * size) for name, size in files.items()])


@pytest.mark.parametrize(
    ("limit", "files", "message"),
    [
        ("_MOST_PACKAGES", dict.fromkeys(PARTS, ""), f"/{STATUS}.d has 3 files, but .* at most 2"),
        ("_MOST_PACKAGES", {STATUS: PACKAGES}, f"/{STATUS} has too many packages: .* at most 2"),
        ("_MOST_TEXT", {INSTALLED: "P:a\nV:1\nL:b\n"}, f"/{INSTALLED} .* with 2 characters"),
    ],
)
def test_numbers_of_packages(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    limit: str,
    files: dict[str, str],
    message: str,
) -> None:
    """Millions of stanzas are no packages of a distribution."""
    base_of(tmp_path, [*files.items()])
    monkeypatch.setattr(f"nixdock.sbom.system_packages.{limit}", 2)
    with pytest.raises(ImageError, match=message):
        base_of(tmp_path, [*files.items()])


@pytest.mark.parametrize("name", ["lib/apk/db/installed", "usr/lib/apk/db/installed"])
def test_apk(tmp_path: Path, name: str) -> None:
    base = base_of(tmp_path, [(name, APK)])
    assert base.packages == (
        SystemPackage(
            "apk", "musl", "1.2.4-r2", "x86_64", license="MIT",
            homepage="https://musl.example", description="the C library",
        ),
    )  # fmt: skip


def test_the_uppermost_database_counts(tmp_path: Path) -> None:
    lower = [("var/lib/dpkg/status", DPKG)]
    assert base_of(tmp_path, lower, [("var/lib/dpkg/status", "")]).packages == ()
    gone = base_of(tmp_path, lower, [("var/lib/dpkg/.wh.status", "")])
    assert gone.packages == ()
    assert "no database" in gone.unread


def test_symlinks_stay_in_the_image(tmp_path: Path) -> None:
    files: list[File] = [
        ("usr/lib/os-release", OS_RELEASE),
        link("etc/os-release", "../../../usr/lib/os-release"),
    ]
    assert base_of(tmp_path, files).release == "12"
    outside = base_of(tmp_path, [link("var/lib/dpkg/status", "/etc/passwd")])
    assert outside.packages == ()
    assert outside.unread


TREE = struct.pack("<12x2I", 0x053162, 9) + bytes(4072)
UNKNOWN = "has a format that is not known"
NO_TABLE = "no SQLite database with the table Packages"
TREE_TEXT = f"/var/lib/rpm/Packages {UNKNOWN}: a B-tree of Berkeley DB, not a hash database"


@pytest.mark.parametrize(
    ("name", "data", "text"),
    [
        ("var/lib/rpm/Packages", TREE, TREE_TEXT),
        (
            "usr/lib/sysimage/rpm/rpmdb.sqlite",
            b"",
            f"/usr/lib/sysimage/rpm/rpmdb.sqlite {UNKNOWN}: {NO_TABLE}",
        ),
        (
            "var/lib/dpkg/status",
            b"\x7fELF\0",
            f"/var/lib/dpkg/status {UNKNOWN}: it is no text",
        ),
        (
            "lib/apk/db/installed",
            b"ADB.\0\0",
            f"/lib/apk/db/installed {UNKNOWN}: it is no text",
        ),
        ("var/lib/dpkg/status", b"garbage\n", f"/var/lib/dpkg/status {UNKNOWN}: it has no package"),
        ("lib/apk/db/installed", b"P:a\n", f"/lib/apk/db/installed {UNKNOWN}: it has no package"),
    ],
)
def test_a_database_of_an_unknown_format_is_not_examined(
    tmp_path: Path, name: str, data: bytes, text: str
) -> None:
    """Others are, and all are named."""
    bill = list_packages(archive(tmp_path / "image.tar", [tar_of({name: data})]))
    assert bill.base is not None
    assert (bill.base.packages, bill.base.unread) == ((), text)
    spdx(bill)
    cyclonedx(bill)
    other = {"usr/lib/apk/db/installed": APK.encode()}
    bill = list_packages(archive(tmp_path / "image.tar", [tar_of({name: data, **other})]))
    assert bill.base is not None
    assert [each.name for each in bill.base.packages] == ["musl"]
    assert bill.base.unread == text
    spdx(bill)
    cyclonedx(bill)


def test_a_nix_database_of_another_format_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The references of store paths are not known then; one that is damaged is an error."""
    path = f"/nix/store/{'a' * 32}-hello-1"
    files = {f"{path}/file".lstrip("/"): b"", "nix/var/nix/db/db.sqlite": rpm_database(tmp_path)}
    image = archive(tmp_path / "image.tar", [tar_of(files)])
    bill = list_packages(image)
    assert [(each.name, each.dependencies) for each in bill.packages] == [("hello", None)]
    (warning,) = caplog.messages
    assert warning == (
        f"{image}: manifest.json[0]: Layers[0]: /nix/var/nix/db/db.sqlite is not a Nix database: it"
        " lacks the table DerivationOutputs; so the references of store paths are not known"
    )
    damaged = {**files, "nix/var/nix/db/db.sqlite": rpm_database(tmp_path)[:1000]}
    with pytest.raises(ImageError, match="is not a Nix database"):
        list_packages(archive(tmp_path / "damaged.tar", [tar_of(damaged)]))


def with_rpm(path: Path, data: bytes) -> Path:
    return archive(path / "rpm.tar", [tar_of({"var/lib/rpm/rpmdb.sqlite": data})])


def test_rpm(tmp_path: Path) -> None:
    key = header((1000, 6, b"gpg-pubkey\0"), (1001, 6, b"1\0"), (1002, 6, b"1\0"))
    base = list_packages(with_rpm(tmp_path, rpm_database(tmp_path, BASH, key))).base
    assert base is not None
    assert base.packages == (
        SystemPackage(
            "rpm", "bash", "5.2-1.fc39", "x86_64", source="bash-src-5.2-1.fc39.src.rpm",
            license="GPL-3.0-or-later", description="The shell", epoch="2",
        ),
    )  # fmt: skip
    assert base.unread == ""


@pytest.mark.parametrize("damaged", [b"", BASH[:7], BASH[:40], BASH[:-30], b"\xff" * 64])
def test_damaged_headers_of_rpm(tmp_path: Path, damaged: bytes) -> None:
    file = with_rpm(tmp_path, rpm_database(tmp_path, damaged))
    with pytest.raises(ImageError, match=r"/var/lib/rpm/rpmdb\.sqlite is not an rpm database: a"):
        list_packages(file)


def test_the_log_of_a_database_of_rpm_counts(tmp_path: Path) -> None:
    """Changes that SQLite has not moved into the database yet are only in its log."""
    name = "var/lib/rpm/rpmdb.sqlite"
    file = tmp_path / "logged.sqlite"
    file.write_bytes(rpm_database(tmp_path))
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("pragma journal_mode = wal")
        connection.execute("insert into Packages(blob) values (?)", [BASH])
        connection.commit()
        log = (tmp_path / "logged.sqlite-wal").read_bytes()
        database = file.read_bytes()
    for files, count in (({}, 0), ({f"{name}-wal": log}, 1)):
        image = archive(tmp_path / "image.tar", [tar_of({name: database, **files})])
        base = list_packages(image).base
        assert base is not None
        assert len(base.packages) == count
