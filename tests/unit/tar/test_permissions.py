"""Permission rules: the files that they match, and how they change them."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from nixdock.build.build import prepared_build
from nixdock.errors import InputError, PackError
from nixdock.layers.store import StoreLayer
from nixdock.layers.tree import TreeLayer
from nixdock.nix.hashes import Hash
from nixdock.nix.store_path import StorePath
from nixdock.spec.reading import read_spec
from nixdock.tar.capabilities import capability_xattr
from nixdock.tar.header import Attributes, Entry, MemberMeta
from nixdock.tar.kinds import Kind
from nixdock.tar.permissions import PermissionRule, apply_rules
from nixdock.tar.reader import TarReader

FILES = [
    Entry(b"/", Kind.DIRECTORY, 0o755),
    Entry(b"/bin/", Kind.DIRECTORY, 0o755),
    Entry(b"/bin/ping", Kind.FILE, 0o555, 5),
    Entry(b"/bin/sh", Kind.SYMLINK, 0o777, 0, b"bash"),
    Entry(b"/binary", Kind.FILE, 0o444),
]


def changed(*rules: PermissionRule) -> dict[str, Entry]:
    """Return the entries that the rules change, by name."""
    return {
        old.name.decode(): new
        for old, new in zip(FILES, apply_rules(rules, FILES), strict=True)
        if new != old
    }


@pytest.mark.parametrize(
    ("path", "regex", "names"),
    [
        ("/bin/ping", None, ["/bin/ping"]),
        ("/bin", None, ["/bin/"]),
        ("/bin/", None, ["/bin/"]),
        ("/", None, ["/"]),
        ("/bin", ".*", ["/bin/", "/bin/ping", "/bin/sh"]),
        ("/", ".*", ["/", "/bin/", "/bin/ping", "/bin/sh", "/binary"]),
        (None, "/bin/.*", ["/bin/ping", "/bin/sh"]),
        (None, "/bin", ["/bin/"]),
        (None, "ping", []),
        (None, ".*/(ping|binary)", ["/bin/ping", "/binary"]),
    ],
)
def test_files_that_a_rule_matches(path: str | None, regex: str | None, names: list[str]) -> None:
    assert list(changed(PermissionRule(path, regex, uid=5))) == names


def test_all_overrides_of_a_rule() -> None:
    rule = PermissionRule("/bin/ping", None, 0o4711, 1, 2, "one", None, ("cap_net_raw=ep",))
    entry = changed(rule)["/bin/ping"]
    assert entry.mode == 0o4711
    assert entry.attributes == Attributes(
        1, 2, "one", "", xattrs=((b"security.capability", capability_xattr(["cap_net_raw"])),)
    )


def test_later_rules_win() -> None:
    rules = PermissionRule("/binary", uid=1, gid=1), PermissionRule(None, ".*", uid=0, mode=0o400)
    entry = changed(*rules)["/binary"]
    assert (entry.mode, entry.attributes) == (0o400, Attributes(0, 1, "root", ""))


def test_symlinks_have_only_owners() -> None:
    link = changed(PermissionRule(None, ".*", mode=0o700, uid=4, capabilities=("cap_kill",)))
    assert link["/bin/sh"].mode == 0o777
    assert link["/bin/sh"].attributes == Attributes(4, uname="")
    assert link["/bin/"].attributes == Attributes(4, uname="")
    message = r"/bin/sh is a symlink to bash, .*give the path of its target"
    with pytest.raises(PackError, match=message) as caught:
        changed(PermissionRule("/bin/sh", mode=0o700))
    assert (caught.value.path, caught.value.key) == ("/bin/sh", "perms")


def test_only_regular_files_have_capabilities() -> None:
    with pytest.raises(PackError) as caught:
        changed(PermissionRule("/bin", capabilities=("cap_kill",)))
    assert str(caught.value) == (
        "perms: /bin is a directory, and only regular files have capabilities; give the path of a"
        " program"
    )
    assert (caught.value.path, caught.value.key) == ("/bin", "perms")


@pytest.mark.parametrize(
    ("path", "regex", "directory", "concerned"),
    [
        ("/nix/store/a/bin/x", None, "/nix/store/a", True),
        ("/nix/store/ab", None, "/nix/store/a", False),
        ("/nix", None, "/nix/store/a", True),
        ("/nix/store", None, "/nix/store/a", True),
        ("/", None, "/nix/store/a", False),
        ("/ni", None, "/nix/store/a", False),
        ("/nix", ".*", "/nix/store/a", True),
        (None, "x", "/nix/store/a", True),
    ],
)
def test_layers_that_a_rule_concerns(
    path: str | None, regex: str | None, directory: str, concerned: bool
) -> None:
    assert PermissionRule(path, regex).concerns(directory) is concerned


@pytest.mark.parametrize(
    ("path", "regex", "concerned"),
    [
        ("/nix", None, False),
        ("/nix", ".*", True),
        ("/nix/store/a/b", None, True),
        (None, "x", True),
    ],
)
def test_rules_that_concern_more_than_parents(
    path: str | None, regex: str | None, concerned: bool
) -> None:
    assert PermissionRule(path, regex).concerns("/nix/store/a", parents=False) is concerned


@pytest.mark.parametrize(
    ("clauses", "value"),
    [
        # As setcap writes them.
        (["cap_net_raw=ep"], "0100000200200000000000000000000000000000"),
        (["cap_net_raw+p"], "0000000200200000000000000000000000000000"),
        (["CAP_NET_BIND_SERVICE,cap_net_raw=eip"], "0100000200240000002400000000000000000000"),
        (["cap_bpf", "cap_chown"], "0100000201000000000000008000000000000000"),
    ],
)
def test_capabilities(clauses: list[str], value: str) -> None:
    assert capability_xattr(clauses).hex() == value


@pytest.mark.parametrize(
    ("clauses", "message"),
    [
        (["cap_x"], "^'cap_x': Linux has no capability 'cap_x'$"),
        (
            ["cap_kill=z"],
            "^'cap_kill=z' is not a capability; expected something like cap_net_raw=ep",
        ),
        ([""], "^'' is not a capability"),
        (["cap_kill=ep", "bpf=p"], "^capabilities cap_kill=ep, bpf=p: either all"),
    ],
)
def test_invalid_capabilities(clauses: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        capability_xattr(clauses)


def test_rules_are_part_of_the_key_of_a_layer() -> None:
    path = StorePath(f"/nix/store/{'0' * 32}-x")
    layer = StoreLayer((path,), perms=(PermissionRule("/x"),), nar_hashes=())
    assert layer.key is None
    hashes = (Hash.parse("sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="),)
    keys = {
        StoreLayer((path,), nar_hashes=hashes, perms=perms).key
        for perms in ((), (PermissionRule("/x", uid=1),), (PermissionRule("/x", uid=2),))
    }
    assert len(keys) == 3


def test_rules_reach_every_layer(tmp_path: Path) -> None:
    path = f"/nix/store/{'0' * 32}-x"
    Path(f"{tmp_path}{path}/bin").mkdir(parents=True)
    Path(f"{tmp_path}{path}/bin/su").write_text("su")
    spec = tmp_path / "spec.json"
    spec.write_text(
        json.dumps(
            {
                "version": 1,
                "name": "x",
                "store": {"root": str(tmp_path)},
                "store_layers": [[path]],
                "extra_commands": "mkdir build",
                "perms": [
                    {"path": f"{path}/bin/su", "mode": "4555", "gname": "ü"},
                    {"path": "/build", "uid": 1000, "gid": 3_000_000},
                ],
            }
        )
    )
    members: dict[str, tarfile.TarInfo] = {}
    with prepared_build(read_spec(spec)) as build:
        for source in build.layers:
            assert isinstance(source, StoreLayer | TreeLayer)
            out = io.BytesIO()
            source.pack(out.write)
            with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as tar:
                members |= {member.name: member for member in tar}
    su, built = members[f"{path}/bin/su"], members["/build"]
    assert (su.mode, su.uid, su.gname) == (0o4555, 0, "ü")
    assert (built.uid, built.gid, built.uname, built.mode) == (
        1000,
        3_000_000,
        "",
        0o755,
    )


def test_extended_attributes_are_kept_to_the_byte(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t/f").write_text("x")
    layer = TreeLayer(
        tmp_path / "t",
        MemberMeta(),
        perms=(PermissionRule("/f", capabilities=("cap_net_raw=ep",)),),
    )
    out = io.BytesIO()
    layer.pack(out.write)
    members = {member.name: member for member in TarReader(io.BytesIO(out.getvalue()))}
    assert members[b"/f"].xattrs == {b"security.capability": capability_xattr(["cap_net_raw"])}
