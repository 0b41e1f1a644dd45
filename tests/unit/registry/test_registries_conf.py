"""containers-registries.conf(5): which places an image has, and what else is said of it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nixdock.errors import InputError
from nixdock.oci.registry_reference import RegistryReference
from nixdock.registry.pull_places import pull_places
from nixdock.registry.registries_conf import parse_registries, registry_tables

FILE = Path("/etc/containers/registries.conf")
DIGEST = "sha256:" + "a" * 64
# The example of the manual page.
EXAMPLE = """
unqualified-search-registries = ["example.com"]

[[registry]]
prefix = "example.com/foo"
insecure = false
blocked = false
location = "internal-registry-for-example.com/bar"

[[registry.mirror]]
location = "example-mirror-0.local/mirror-for-foo"

[[registry.mirror]]
location = "example-mirror-1.local/mirrors/foo"
insecure = true

[[registry]]
location = "registry.com"

[[registry.mirror]]
location = "mirror.registry.com"
"""


def places(text: str, name: str) -> list[str]:
    tables = parse_registries(text.encode(), FILE)
    found = pull_places(RegistryReference.parse(name), tables)
    return [f"{place.reference}{' insecure' * place.insecure}" for place in found]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "example.com/foo/image:v1",
            [
                "example-mirror-0.local/mirror-for-foo/image:v1",
                "example-mirror-1.local/mirrors/foo/image:v1 insecure",
                "internal-registry-for-example.com/bar/image:v1",
            ],
        ),
        ("registry.com/image", ["mirror.registry.com/image:latest", "registry.com/image:latest"]),
        (
            f"registry.com/team/image:v1@{DIGEST}",
            [f"mirror.registry.com/team/image:v1@{DIGEST}", f"registry.com/team/image:v1@{DIGEST}"],
        ),
        # The prefix ends within a part of the name.
        ("example.com/food:v1", ["example.com/food:v1"]),
        ("registry.com.evil.example/image:v1", ["registry.com.evil.example/image:v1"]),
        ("example.com/other:v1", ["example.com/other:v1"]),
    ],
)
def test_the_example(name: str, expected: list[str]) -> None:
    assert places(EXAMPLE, name) == expected


def table(**fields: object) -> str:
    texts = {True: "true", False: "false"}
    lines = [
        f"{key.replace('_', '-')} = {texts[value] if isinstance(value, bool) else repr(value)}"
        for key, value in fields.items()
    ]
    return "\n".join(["[[registry]]", *lines, ""])


def mirror(**fields: object) -> str:
    return table(**fields).replace("[[registry]]", "[[registry.mirror]]")


def test_docker_hub() -> None:
    text = table(location="docker.io") + mirror(location="hub.example/proxy")
    expected = ["hub.example/proxy/library/redis:latest", "docker.io/library/redis:latest"]
    assert places(text, "redis") == places(text, "docker.io/redis") == expected
    own = table(prefix="docker.io/library", location="hub.example/official")
    assert places(text + own, "redis:7") == ["hub.example/official/redis:7"]


def test_the_longest_prefix_counts() -> None:
    text = (
        table(prefix="a.example/x/y", location="deep.example/d")
        + table(prefix="a.example", location="wide.example")
        + table(prefix="a.example/x/y:v1", location="one.example/z:v2")
    )
    assert places(text, "a.example/x/y/z:v2") == ["deep.example/d/z:v2"]
    assert places(text, "a.example/x:v2") == ["wide.example/x:v2"]
    assert places(text, "a.example/x/y:v1") == ["one.example/z:v2"]


def test_the_longest_prefix_counts_beside_domains() -> None:
    tables = [
        table(prefix="*.example.com", blocked=True),
        table(prefix="*.sub.example.com", insecure=True),
        table(location="registry.sub.example.com") + mirror(location="b.example"),
    ]
    for text in ("".join(tables), "".join(reversed(tables))):
        found = places(text, "registry.sub.example.com/x:v1")
        assert found == ["b.example/x:v1", "registry.sub.example.com/x:v1"]
        assert places(text, "a.sub.example.com/x:v1") == ["a.sub.example.com/x:v1 insecure"]
        with pytest.raises(InputError, match="blocks"):
            places(text, "a.example.com/x:v1")


@pytest.mark.parametrize("location", ["mirror", "hub/cache"])
def test_a_location_without_a_host_is_not_one_of_docker_hub(location: str) -> None:
    text = table(location="docker.io") + mirror(location=location)
    with pytest.raises(InputError, match=r"does not begin with the host of a registry"):
        places(text, "redis")


def test_domains() -> None:
    text = table(prefix="*.example.com", insecure=True)
    for name in ("a.example.com/x:v1", "a.b.example.com/x/y:v1"):
        assert places(text, name) == [f"{name} insecure"]
    assert places(text, "example.com/x:v1") == ["example.com/x:v1"]
    assert places(text, "a.example.com.org/x:v1") == ["a.example.com.org/x:v1"]
    assert places(text, "other.org/a.example.com/x:v1") == ["other.org/a.example.com/x:v1"]
    moved = table(prefix="*.example.com", location="one.org/all")
    assert places(moved, "a.example.com/x:v1") == ["one.org/all/x:v1"]


@pytest.mark.parametrize(
    ("fields", "pull", "tag", "digest"),
    [
        ({}, None, True, True),
        ({}, "all", True, True),
        ({}, "", True, True),
        ({}, "digest-only", False, True),
        ({}, "tag-only", True, False),
        ({"mirror_by_digest_only": True}, None, False, True),
    ],
)
def test_mirrors_for_tags_or_digests(
    fields: dict[str, object], pull: str | None, tag: bool, digest: bool
) -> None:
    own = {} if pull is None else {"pull_from_mirror": pull}
    text = table(location="a.example", **fields) + mirror(location="b.example", **own)
    assert (places(text, "a.example/x:v1")[0] == "b.example/x:v1") is tag
    assert (places(text, f"a.example/x@{DIGEST}")[0] == f"b.example/x@{DIGEST}") is digest


def test_blocked_images() -> None:
    text = table(location="a.example", blocked=True) + table(location="a.example/free")
    assert places(text, "a.example/free/x:v1") == ["a.example/free/x:v1"]
    with pytest.raises(InputError, match=r"blocks a\.example, and so a\.example/x:v1"):
        places(text, "a.example/x:v1")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[registry", "is not valid TOML"),
        ("a = " + "[" * 5000, "is not valid TOML"),
        ("registry = 1", r"registry is not an array of tables, \[\[registry\]\]"),
        ("[registry]", "is not an array of tables"),
        ("[[registry]]", "prefix of a .* is not the start of an image's name"),
        (table(prefix="a.example"), "location of a .* is not the place of the images"),
        (table(prefix="*.example.com/foo"), "prefix of a .* is not the start"),
        (table(location=1), "location of a .* is not a string"),
        (table(location="a.example", insecure="yes"), "insecure of a .* is not true or false"),
        (table(location="a.example") + mirror(insecure=True), "is not the place of a mirror"),
        (
            table(location="a.example") + mirror(location="b.example", pull_from_mirror="never"),
            "is not all, digest-only or tag-only",
        ),
    ],
)
def test_what_is_not_valid(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as raised:
        parse_registries(text.encode(), FILE)
    assert str(FILE) in str(raised.value)


def test_a_place_that_is_no_name() -> None:
    text = table(prefix="a.example", location="b.example/B B")
    with pytest.raises(InputError, match=r"registries\.conf: .* is not an image reference"):
        places(text, "a.example/x:v1")


@given(st.binary(max_size=80) | st.text(max_size=80).map(str.encode))
def test_noise(data: bytes) -> None:
    with suppress(InputError):
        parse_registries(data, FILE)


def written(file: Path, **fields: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(table(**fields))


def test_files(tmp_path: Path) -> None:
    etc, home = tmp_path / "etc", tmp_path / "home"
    own = home / ".config/containers"
    environment = {"HOME": str(home)}

    def found() -> dict[str, str]:
        tables = registry_tables(environment, etc)
        return {each.prefix: each.location for each in tables}

    assert found() == {}
    written(etc / "registries.conf", prefix="a.example", location="system.example")
    assert found() == {"a.example": "system.example"}
    # Additions come after the file, in the order of their names.
    written(etc / "registries.conf.d/2.conf", prefix="b.example", location="two.example")
    written(etc / "registries.conf.d/1.conf", prefix="b.example", location="one.example")
    written(etc / "registries.conf.d/3.ignored", prefix="b.example", location="three.example")
    assert found() == {"a.example": "system.example", "b.example": "two.example"}
    # The user may add to the system's file, or have another one, without the system's additions.
    written(own / "registries.conf.d/0.conf", prefix="b.example", location="zero.example")
    assert found() == {"a.example": "system.example", "b.example": "zero.example"}
    written(etc / "registries.conf.d/4.conf", prefix="d.example", location="four.example")
    written(own / "registries.conf", prefix="c.example", location="user.example")
    assert found() == {"c.example": "user.example", "b.example": "zero.example"}
    # Directories are not files.
    (own / "registries.conf.d/9.conf").mkdir()
    assert len(found()) == 2
    written(tmp_path / "only", prefix="e.example", location="only.example")
    environment["CONTAINERS_REGISTRIES_CONF"] = str(tmp_path / "only")
    assert found() == {
        "b.example": "zero.example",
        "d.example": "four.example",
        "e.example": "only.example",
    }
    environment["CONTAINERS_REGISTRIES_CONF"] = str(tmp_path / "missing")
    with pytest.raises(InputError, match=r"can't read .*missing: No such file"):
        found()


def test_of_tables_with_the_same_prefix_the_first_in_a_file_counts(tmp_path: Path) -> None:
    text = table(prefix="a.example", location="b.example") + table(
        prefix="a.example", location="c.example"
    )
    file = tmp_path / "registries.conf"
    file.write_text(text)
    environment = {"CONTAINERS_REGISTRIES_CONF": str(file), "HOME": str(tmp_path)}
    (found,) = registry_tables(environment, tmp_path / "etc")
    assert found.location == "b.example"


def test_a_file_that_can_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(file: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(file))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(InputError, match=r"can't read .*registries\.conf: Permission denied"):
        registry_tables({"HOME": str(tmp_path)}, tmp_path / "etc")
