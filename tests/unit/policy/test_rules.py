"""Each rule of a policy, on what it is about alone."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import fields

from nixdock.diff.comparison import compare_sides
from nixdock.diff.side import Document, Side, SideKind, SideLayer
from nixdock.errors import InputError
from nixdock.nix.closure import PathInfo
from nixdock.policy.findings import Finding
from nixdock.policy.licenses import license_findings, unlicensed_count
from nixdock.policy.paths import denied_names
from nixdock.policy.patterns import Patterns
from nixdock.policy.permissions import permission_findings
from nixdock.policy.policy import Policy, Rule
from nixdock.policy.sizes import size_findings, update_findings
from nixdock.read.tree import MergedTree, Node
from nixdock.sbom.bill import (
    BasePart,
    Bill,
    License,
    Meta,
    Package,
    Subject,
    SubjectKind,
    SystemPackage,
)
from nixdock.tar.kinds import Kind
from tests.unit.closures import store_path

SIZES = st.lists(st.integers(0, 1000), max_size=5)


def image(sizes: Sequence[int], origin: str = "new.tar") -> Side:
    """An image whose layers have digests that follow from their sizes."""
    layers = (
        SideLayer(number, (), size, f"sha256:{size:064}", comment=f"layer of {size}")
        for number, size in enumerate(sizes, 1)
    )
    return Side(
        origin, SideKind.IMAGE, tuple(layers), Document("sha256:c", 10), Document("sha256:m", 20)
    )


def rules_of(findings: Sequence[Finding]) -> list[Rule]:
    return [finding.rule for finding in findings]


def test_every_field_has_a_rule_in_its_order() -> None:
    values = {"max_size": 0, "denied_licenses": ("a",), "denied_paths": ("a",)}
    for rule, field in zip(
        Rule, [f for f in fields(Policy) if f.name != "allowed_setuid"], strict=True
    ):
        value = values.get(field.name, 0 if field.name.startswith("max_") else True)
        policy = Policy(**{field.name: value})  # type: ignore[arg-type]
        assert [*policy.rules()] == [rule]
        assert rule.description.endswith(".")
    assert not [*Policy(allowed_setuid=("a",)).rules()]


@given(SIZES, st.integers(0, 3000), st.integers(0, 6), st.integers(0, 1000))
def test_sizes(sizes: list[int], most: int, count: int, layer: int) -> None:
    """Equal blobs are stored once, but each is a layer."""
    policy = Policy(max_size=most, max_layers=count, max_layer=layer)
    findings = [*size_findings(policy, image(sizes))]
    total = sum(set(sizes)) + 30
    expected = [Rule.MAX_SIZE] * (total > most) + [Rule.MAX_LAYERS] * (len(sizes) > count)
    assert rules_of(findings)[: len(expected)] == expected
    large = findings[len(expected) :]
    assert [each.layers for each in large] == [
        (number,) for number, size in enumerate(sizes, 1) if size > layer
    ]
    assert all(each.measured is not None and each.limit is not None for each in findings)
    assert all(each.measured > each.limit for each in findings)  # type: ignore[operator]


def test_size_messages() -> None:
    policy = Policy(max_size=1_000_000, max_layer=10)
    size, layer = size_findings(policy, image([1_499_970]))
    assert size.message == "the image has 1.5 MB (1500000 bytes), more than 1.0 MB"
    assert layer.message.startswith("layer 1 (layer of 1499970) has 1.5 MB (1499970 bytes), more")


@given(SIZES, SIZES, st.integers(0, 3000))
def test_updates(old: list[int], new: list[int], limit: int) -> None:
    diff = compare_sides(image(old, "old.tar"), image(new))
    findings = [*update_findings(Policy(max_update=limit), diff)]
    transferred = sum({*new} - {*old})
    assert bool(findings) is (transferred > limit)
    for finding in findings:
        assert finding.measured == transferred
        assert finding.message.startswith("an update from old.tar transfers")
        assert finding.layers == tuple(i for i, s in enumerate(new, 1) if s not in old)


def package(name: str, *licenses: License) -> Package:
    info = PathInfo(store_path(f"{name}-1"))
    return Package(name, "1", (info,), None, Meta(licenses=licenses))


MIT = License("MIT License", "MIT")
AGPL = License("GNU Affero GPL v3", "AGPL-3.0-only")
OWN = License("Own, unfree")
SUBJECT = Subject(SubjectKind.IMAGE, "x", "1", "1970-01-01T00:00:00Z")
SYSTEM = (
    SystemPackage("apk", "bash", "5", "x86_64", license="GPL-3.0-or-later AND (MIT OR Zlib)"),
    SystemPackage("deb", "dash", "0.5", "amd64"),
)
BASE = BasePart((), packages=SYSTEM)
BILL = Bill(SUBJECT, (package("a", MIT, AGPL), package("b", OWN), package("c")), BASE)


@pytest.mark.parametrize(
    ("denied", "packages"),
    [
        ("AGPL-3.0-only", ["a-1"]),
        ("agpl-*", ["a-1"]),
        ("GPL-*", ["bash-5"]),
        ("*GPL*", ["a-1", "bash-5"]),
        ("mit", ["a-1", "bash-5"]),
        ("Own, unfree", ["b-1"]),
        ("own*", ["b-1"]),
        ("Zlib", ["bash-5"]),
        ("and", []),
        ("GPL", []),
        ("", []),
        ("GPL-3.0-or-later AND (MIT OR Zlib)", ["bash-5"]),
    ],
)
def test_denied_licenses(denied: str, packages: list[str]) -> None:
    findings = [*license_findings(Policy(denied_licenses=("none", denied)), BILL)]
    assert [each.package for each in findings] == packages
    assert {each.matched for each in findings} <= {denied}
    assert [each.path for each in findings if each.package == "a-1"] in (
        [],
        [str(store_path("a-1"))],
    )


@pytest.mark.parametrize(
    ("denied", "count"),
    [("Own, unfree", 1), ("own, *", 1), ("MIT", 1), ("MIT OR Own, unfree", 1), ("Owner", 0)],
)
def test_a_choice_of_licenses(denied: str, count: int) -> None:
    """A name with spaces and commas is found in it, too."""
    choice = License("MIT OR Own, unfree", parts=("MIT", "Own, unfree"))
    bill = Bill(SUBJECT, (package("a", choice),))
    findings = [*license_findings(Policy(denied_licenses=(denied,)), bill)]
    assert len(findings) == count


def test_a_package_with_several_denied_licenses() -> None:
    policy = Policy(denied_licenses=("mit", "AGPL*"))
    texts = [each.message for each in license_findings(policy, BILL)]
    assert texts == [
        "the package a-1 has the licence MIT",
        "the package a-1 has the licence AGPL-3.0-only",
        "the package bash-5 has the licence GPL-3.0-or-later AND (MIT OR Zlib)",
    ]


def test_unknown_licenses() -> None:
    policy = Policy(deny_unknown_licenses=True)
    assert [each.package for each in license_findings(policy, BILL)] == ["c-1", "dash-0.5"]
    assert unlicensed_count(BILL) == 2
    unread = Bill(SUBJECT, (), BasePart((), unread="it is strange"))
    (finding,) = license_findings(policy, unread)
    assert finding.message == "packages of the base image are not known, as it is strange"
    assert not [*license_findings(Policy(denied_licenses=("*",)), unread)]


@pytest.mark.parametrize(
    ("pattern", "denied"),
    [
        ("gcc", [b"nix/store/abc-gcc-12"]),
        (r"^/etc/passwd$", [b"etc/passwd"]),
        (r"/cc1$", [b"nix/store/abc-gcc-12/libexec/cc1"]),
        ("^/etc$", [b"etc"]),
        ("pass", [b"etc/passwd", b"etc/passwd-"]),
        ("^etc", []),
        ("nothing", []),
        ("é|\udcff", [b"caf\xc3\xa9", b"\xff"]),
        ("gone", []),
        ("inside", [b"opt/.wh.x/inside"]),
        (r"plnk/1\.2", [b".wh..wh.plnk/1.2"]),
        ("aufs", []),
    ],
)
def test_denied_names(pattern: str, denied: list[bytes]) -> None:
    """A directory stands for what is in it, and whiteouts for nothing."""
    names = [
        b"",
        b"\xff",
        b"caf\xc3\xa9",
        b"etc",
        b".wh..wh.aufs",
        b".wh..wh.plnk/1.2",
        b"etc/.wh.gone",
        # For runtimes, a directory with such a name is one as any other.
        b"opt/.wh.x/inside",
        b"etc/passwd",
        b"etc/passwd-",
        b"nix/store/abc-gcc-12",
        b"nix/store/abc-gcc-12/libexec/cc1",
        b"nix/store/abc-gcc-12-lib/libgcc.so" if "gcc" not in pattern else b"x",
    ]
    assert [*denied_names(names, Patterns.of([pattern]))] == denied


@given(st.lists(st.text("ab/", min_size=1, max_size=6), max_size=8), st.text("ab/", max_size=3))
def test_denied_names_cover_all_that_match(texts: list[str], pattern: str) -> None:
    names = {text.strip("/").replace("//", "/").encode() for text in texts} - {b""}
    denied = denied_names(names, Patterns.of([pattern]))
    for name in names:
        above = {name[:end] for end in range(len(name)) if name[end : end + 1] == b"/"}
        covered = name in denied or not above.isdisjoint(denied)
        assert covered or pattern not in f"/{name.decode()}"
        assert name not in denied or (pattern in f"/{name.decode()}" and above.isdisjoint(denied))


def test_bad_patterns() -> None:
    with pytest.raises(InputError, match=r"'\(' is not a regular expression"):
        Patterns.of(["("])
    assert Patterns.of(["su"]).within("/bin/sudo") == "su"
    assert Patterns.of(["/bin/su"]).covering("/bin/sudo") is None


def test_slow_patterns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nixdock.policy.patterns._MOST_SECONDS", 0.05)
    with pytest.raises(InputError, match="takes more than"):
        Patterns.of(["(a+)+b$"]).within("/" + "a" * 60)


def tree(**files: tuple[int, bytes]) -> MergedTree:
    root = Node(Kind.DIRECTORY, 0o755)
    for name, (mode, kind) in files.items():
        xattrs = ((b"security.capability", b"x"),) if name.startswith("cap") else ()
        root.children[name.encode()] = Node(kind, mode, layer=2, xattrs=xattrs)
    return MergedTree(root)


def test_permissions() -> None:
    files = tree(
        both=(0o6755, Kind.FILE),
        cap=(0o755, Kind.FILE),
        device=(0o666, Kind.CHARACTER_DEVICE),
        group=(0o2755, Kind.FILE),
        inherits=(0o2775, Kind.DIRECTORY),
        link=(0o777, Kind.SYMLINK),
        plain=(0o755, Kind.FILE),
        su=(0o4755, Kind.FILE),
        sudo=(0o4755, Kind.FILE),
        tmp=(0o1777, Kind.DIRECTORY),
        writable=(0o666, Kind.FILE),
        writable_dir=(0o777, Kind.DIRECTORY),
    )
    both, cap, group, su, sudo = permission_findings(Policy(deny_setuid=True), files)
    assert (
        both.message == "/both has a set-user-ID bit and a set-group-ID bit (mode 6755, owner 0:0)"
    )
    assert (cap.path, group.path, su.path, sudo.path) == ("/cap", "/group", "/su", "/sudo")
    assert both.layers == (3,)
    allowing = Policy(deny_setuid=True, allowed_setuid=("/su", "/[bcg].*"))
    assert [each.path for each in permission_findings(allowing, files)] == ["/sudo"]
    writable = Policy(deny_world_writable=True)
    assert [each.path for each in permission_findings(writable, files)] == [
        "/writable",
        "/writable_dir",
    ]


def test_the_root_counts() -> None:
    """Nothing but a tar's entry for it says what its permissions are."""
    files = tree(etc=(0o755, Kind.DIRECTORY))
    policy = Policy(deny_setuid=True, deny_world_writable=True)
    assert not [*permission_findings(policy, files)]
    files.root.layer, files.root.mode = 0, 0o6777
    (finding,) = permission_findings(policy, files)
    assert (finding.rule, finding.path, finding.layers) == (Rule.DENY_WORLD_WRITABLE, "/", (1,))
    text = "/ is a directory that everybody can write to (mode 6777, owner 0:0)"
    assert finding.message == text
    files.root.mode = 0o1777
    assert not [*permission_findings(policy, files)]
