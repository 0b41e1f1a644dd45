"""Layers and manifests that runtimes take for something else than a careless reader does.

What Docker, Podman, containerd and umoci make of each was tried with all of them, or follows from
Go's archive/tar, which they share.
"""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from nixdock import export_image, verify_image
from nixdock.errors import ImageError
from tests.unit.docker_archive import archive

END = bytes(1024)
EVIL = b"evil"
Header = Mapping[str, Any]


def header(name: bytes, size: int = 0, **fields: Any) -> bytes:
    """Return a header with fields that tarfile would not write."""
    block = bytearray(512)
    parts = {
        0: name,
        100: b"%07o\0" % fields.get("mode", 0o644),
        108: b"%07o\0" % fields.get("uid", 0),
        116: b"0000000\0",
        124: fields.get("digits", b"%011o\0" % size),
        136: b"00000000000\0",
        329: fields.get("device", b""),
        148: b" " * 8,
        156: fields.get("flag", b"0"),
        157: fields.get("link", b""),
        257: fields.get("magic", b"ustar\x0000"),
        345: fields.get("prefix", b""),
        508: fields.get("tail", b""),
    }
    for at, part in parts.items():
        block[at : at + len(part)] = part
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def member(name: bytes, data: bytes = EVIL, **fields: Any) -> bytes:
    return header(name, len(data), **fields) + data + bytes(-len(data) % 512)


def records(flag: bytes = b"x", **pairs: bytes) -> bytes:
    data = b""
    for key, value in pairs.items():
        text = b" %b=%b\n" % (key.replace("__", ".").encode(), value)
        size = len(text) + 1
        size += len(str(size + len(str(size)) - 1)) - 1
        data += b"%d%b" % (size, text)
    return member(b"PaxHeaders", data, flag=flag)


def long_name(name: bytes) -> bytes:
    return member(b"././@LongLink", name + b"\0", flag=b"L")


SPARSE = {"GNU__sparse__name": b"opt/harmless", "GNU__sparse__size": b"4"}
SPARSE |= {"GNU__sparse__map": b"0,4"}
SPARSE_FORM = {"GNU__sparse__major": b"0", "GNU__sparse__minor": b"1"}
# Each with a part of the message of `verify`.
REFUSED: Mapping[str, tuple[bytes, str]] = {
    "a prefix of GNU tar": (
        member(b"opt/harmless", magic=b"ustar  \0", prefix=b"usr/bin"),
        "not clear whether a prefix is part of the name",
    ),
    "a global header after a long path": (
        records(path=b"opt/harmless") + records(b"g", comment=b"x") + member(b"usr/bin/evil"),
        "a global header is between an extended header and its member",
    ),
    "a global header after a long name": (
        long_name(b"opt/harmless") + records(b"g", comment=b"x") + member(b"usr/bin/evil"),
        "a global header is between an extended header and its member",
    ),
    "a sparse file without a minor number": (
        records(GNU__sparse__major=b"0", **SPARSE) + member(b"usr/bin/evil"),
        "may be a sparse file, but its form is unknown",
    ),
    "a sparse file without a major number": (
        records(GNU__sparse__minor=b"1", **SPARSE) + member(b"usr/bin/evil"),
        "may be a sparse file, but its form is unknown",
    ),
    "a sparse directory that its name marks": (
        records(**SPARSE_FORM, **SPARSE) + member(b"opt/", flag=b"\0"),
        "has the records of a sparse file, but is no file",
    ),
    "a sparse directory": (
        records(**SPARSE_FORM, **SPARSE) + header(b"usr/", flag=b"5"),
        "has the records of a sparse file, but is no file",
    ),
    "a sparse file that fills a disk": (
        records(
            **SPARSE_FORM,
            **(SPARSE | {"GNU__sparse__size": b"%d" % (1 << 40)}),
            GNU__sparse__numblocks=b"1",
        )
        + member(b"a", b"data"),
        "the sparse files up to 'opt/harmless' have more than 68719476736 bytes",
    ),
    "a file below a directory like AUFS's": (
        member(b"usr/.wh..wh.plnk/evil", mode=0o4755),
        "is below a whiteout",
    ),
    "a size behind a NUL": (
        member(b"opt/harmless", header(b"evil", 0), digits=b"\0%010o\0" % 512),
        "the size .* is not an octal number",
    ),
    "a contiguous file": (member(b"opt/evil", flag=b"7"), "type flag '7'"),
    "a time that is none": (
        records(atime=b"abc") + member(b"a"),
        "the atime 'abc' is not a number",
    ),
    "a user with a NUL": (records(uname=b"a\0b") + member(b"a"), "'uname' .* has a NUL"),
    "a target with a NUL": (
        records(linkpath=b"a\0b") + header(b"l", flag=b"2", link=b"z"),
        "'linkpath' .* has a NUL",
    ),
    "a time of star that is none": (
        member(b"opt/harmless", prefix=b"a" * 131 + b"bcd", tail=b"tar\0"),
        "a time is not an octal number",
    ),
    "an attribute without a name": (
        records(SCHILY__xattr__=b"c") + member(b"a"),
        "an extended attribute without a name",
    ),
    "an attribute of users without a name": (
        records(SCHILY__xattr__user__=b"c") + member(b"a"),
        "an extended attribute without a name",
    ),
    "capabilities that another encoding made longer": (
        records(SCHILY__xattr__security__capability=bytes.fromhex("01000002c280") + bytes(15))
        + member(b"a"),
        "'a' has file capabilities in a form that Linux does not store",
    ),
    "capabilities of the first revision": (
        records(SCHILY__xattr__security__capability=bytes.fromhex("00000001") + bytes(8))
        + member(b"a"),
        "'a' has file capabilities in a form that Linux does not store",
    ),
    "a long name of an attribute": (
        records(**{"SCHILY__xattr__user__" + "a" * 300: b"c"}) + member(b"a"),
        "whose name is longer than 255 bytes",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_could_be_taken_for_something_else_is_refused(tmp_path: Path, name: str) -> None:
    tar, message = REFUSED[name]
    image = archive(tmp_path / "image.tar", [tar + END])
    found = [str(problem) for problem in verify_image(image).problems]
    assert len(found) == 1
    assert re.search(message, found[0]), found
    with pytest.raises(ImageError, match=message):
        export_image(image, io.BytesIO().write)


@pytest.mark.parametrize("version", [b"  ", b"\0\0", b"00"])
def test_the_version_of_a_header_does_not_matter(tmp_path: Path, version: bytes) -> None:
    tar = member(b"harmless", magic=b"ustar\0" + version, prefix=b"usr/bin")
    image = archive(tmp_path / "image.tar", [tar + END])
    assert verify_image(image).problems == ()
    assert "./usr/bin/harmless" in exported(image)


def test_headers_before_ustar_have_no_devices(tmp_path: Path) -> None:
    tar = header(b"a", flag=b"3", magic=b"ustar 00", device=b"0000001\0000000003\0")
    (problem,) = verify_image(archive(tmp_path / "image.tar", [tar + END])).problems
    assert "'a' is a device 0:0" in str(problem)


def test_times_of_gnu_tar_are_no_prefix(tmp_path: Path) -> None:
    times = b"14760000000\0" * 2
    image = archive(tmp_path / "image.tar", [member(b"a", magic=b"ustar  \0", prefix=times) + END])
    assert verify_image(image).problems == ()
    assert "./a" in exported(image)


@pytest.mark.parametrize("flag", [b"2", b"3", b"4", b"6"])
def test_attributes_of_users_that_linux_does_not_allow(tmp_path: Path, flag: bytes) -> None:
    special = header(b"l", flag=flag, link=b"z", device=b"0000001\0000000003\0")
    tar = records(SCHILY__xattr__user__x=b"c") + special
    found = verify_image(archive(tmp_path / "image.tar", [tar + END]))
    assert found.problems == ()
    assert "Podman refuses the layer" in str(found.warnings[0])


@pytest.mark.parametrize("below", [False, True])
def test_a_hard_link_sets_the_attributes_of_its_file(tmp_path: Path, below: bool) -> None:
    """Runtimes change the owner and the mode of the link, and so those of the file."""
    capability = bytes.fromhex("0100000200040000000000000000000000000000")
    link = records(SCHILY__xattr__security__capability=capability)
    link += header(b"b", flag=b"1", link=b"a", mode=0o4755, uid=7)
    file = member(b"a", mode=0o666)
    tars = [file + END, link + END] if below else [file + link + END]
    members = exported(archive(tmp_path / "image.tar", tars))
    assert (members["./a"].mode, members["./a"].uid) == (0o4755, 7)
    assert "SCHILY.xattr.security.capability" in members["./a"].pax_headers
    assert members["./b"].linkname == "./a"


@pytest.mark.parametrize("lower", [member(b"a"), header(b"a", flag=b"2", link=b"nothing")])
def test_a_directory_that_a_lower_layer_has_not(tmp_path: Path, lower: bytes) -> None:
    """Runtimes make it only if there is nothing else in its place."""
    image = archive(tmp_path / "image.tar", [lower + END, member(b"a/b") + END])
    (problem,) = verify_image(image).problems
    assert "the layer has files below 'a'" in str(problem)


def exported(image: Path) -> dict[str, tarfile.TarInfo]:
    data = io.BytesIO()
    export_image(image, data.write)
    data.seek(0)
    with tarfile.open(fileobj=data) as tar:
        return {each.name: each for each in tar}


# Manifests.


def layout(directory: Path, tar: bytes, *, entry: Header | None = None, **keys: Any) -> Path:
    """Write an OCI layout with a layer, and these keys in its manifest and entry."""
    blobs = directory / "blobs/sha256"
    blobs.mkdir(parents=True)

    def put(data: bytes, media_type: str) -> dict[str, Any]:
        digest = sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    image = "application/vnd.oci.image"
    layer = put(tar, keys.pop("layer_type", f"{image}.layer.v1.tar"))
    config = {
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{image}.manifest.v1+json",
        "config": put(json.dumps(config).encode(), f"{image}.config.v1+json"),
        "layers": [layer],
        **keys,
    }
    described = put(json.dumps(manifest).encode(), f"{image}.manifest.v1+json")
    index = {"schemaVersion": 2, "manifests": [{**described, **(entry or {})}]}
    (directory / "index.json").write_text(json.dumps(index))
    (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return directory


ATTESTATION = {"annotations": {"vnd.docker.reference.type": "attestation-manifest"}}
CLAIMS: Mapping[str, Mapping[str, Any]] = {
    "an artifact": {"artifactType": "application/vnd.x+json"},
    "an attestation": {"entry": ATTESTATION},
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_an_image_that_says_that_it_is_something_else(tmp_path: Path, claim: str) -> None:
    """Runtimes run it."""
    bad = layout(tmp_path / "bad", member(b"../etc/x") + END, **CLAIMS[claim])
    assert any("'../etc/x'" in str(problem) for problem in verify_image(bad).problems)
    good = layout(tmp_path / "good", member(b"a") + END, **CLAIMS[claim])
    found = verify_image(good)
    assert (found.images, found.layers, found.problems) == (1, 1, ())
    assert "./a" in exported(good)


@pytest.mark.parametrize("claim", CLAIMS)
def test_nothing_is_verified(tmp_path: Path, claim: str) -> None:
    there = layout(
        tmp_path / "x", b"{}", layer_type="application/vnd.in-toto+json", **CLAIMS[claim]
    )
    found = verify_image(there)
    assert found.images == 0
    assert "it is an artifact" in str(found.problems[0])
    (there / "index.json").write_text('{"schemaVersion": 2, "manifests": []}')
    assert [*map(str, verify_image(there).problems)] == ["index.json: there is no image"]
