"""The database equals the one that Nix writes from the same registration."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from nixdock.errors import ClosureError, OutputError, StoreError
from nixdock.nix.closure import Closure, PathInfo
from nixdock.nix.database import SCHEMA_VERSION, write_nix_db
from nixdock.nix.hashes import Hash
from nixdock.nix.reference_graph import parse_closure
from nixdock.nix.registrations import render_registration
from nixdock.nix.store_path import StorePath
from tests.unit.cli.program import environment, run, run_text

NIX_CONFIG = "build-users-group =\nsubstituters =\nsandbox = false\n"
TABLES = ("ValidPaths", "Refs", "DerivationOutputs", "sqlite_sequence")


def store_path(number: int, name: str = "package") -> StorePath:
    digits = "0123456789abcdfghijklmnpqrsvwxyz"
    code = "".join(digits[number >> 5 * i & 31] for i in reversed(range(32)))
    return StorePath(f"/nix/store/{code}-{name}-{number}")


def random_closure(count: int, seed: int = 1) -> Closure:
    draw = random.Random(seed)
    paths = [store_path(i) for i in range(count)]
    return Closure.of(
        PathInfo(
            path=path,
            nar_size=draw.randrange(1, 10**9),
            nar_hash=Hash("sha256", draw.randbytes(32)),
            references=tuple(sorted({path, *draw.choices(paths[:i], k=4)} if i else {path})),
            deriver=f"{store_path(i + 10**6)}.drv" if i % 3 else None,
        )
        for i, path in enumerate(paths)
    )


def rows_of(database: Path) -> dict[str, list[tuple[Any, ...]]]:
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("pragma integrity_check").fetchall() == [("ok",)]
        assert connection.execute("pragma foreign_key_check").fetchall() == []
        return {
            table: sorted(connection.execute(f"select * from {table}"), key=repr)
            for table in TABLES
        }


def columns_of(database: Path) -> dict[str, list[tuple[Any, ...]]]:
    with closing(sqlite3.connect(database)) as connection:
        return {
            table: connection.execute(f"pragma table_info({table})").fetchall() for table in TABLES
        }


def without_times(rows: dict[str, list[tuple[Any, ...]]]) -> dict[str, list[tuple[Any, ...]]]:
    return {**rows, "ValidPaths": [(*row[:3], *row[4:]) for row in rows["ValidPaths"]]}


def load_db(root: Path, registration: bytes) -> Path:
    """Let Nix load a registration text into a new store below `root`; return its database."""
    subprocess.run(
        ["nix-store", "--store", f"local?root={root}", "--load-db"],
        input=registration,
        env={**os.environ, "NIX_CONFIG": NIX_CONFIG},
        check=True,
    )
    return root / "nix/var/nix/db"


@pytest.mark.nix
def test_rows_and_schema_equal_those_of_nix(tmp_path: Path) -> None:
    closure = random_closure(60)
    theirs = load_db(tmp_path / "theirs", render_registration(closure))
    write_nix_db(closure, tmp_path / "ours", registration_time=1)
    ours = tmp_path / "ours/nix/var/nix/db"
    assert without_times(rows_of(ours / "db.sqlite")) == without_times(
        rows_of(theirs / "db.sqlite")
    )
    assert {row[3] for row in rows_of(ours / "db.sqlite")["ValidPaths"]} == {1}
    assert columns_of(ours / "db.sqlite") == columns_of(theirs / "db.sqlite")
    assert (ours / "schema").read_bytes() == (theirs / "schema").read_bytes()
    assert (ours / "schema").read_text() == str(SCHEMA_VERSION)


@pytest.mark.nix
def test_outputs_of_derivations_are_registered_as_by_nix(tmp_path: Path) -> None:
    root = tmp_path / "store"
    env = {**os.environ, "NIX_CONFIG": NIX_CONFIG}
    expression = """derivation { name = "d"; system = "x"; builder = "/b";
      outputs = [ "out" "dev" ]; args = [ "a \\"quoted\\" argument" ]; }"""
    store = f"local?root={root}"
    drv = subprocess.run(
        ["nix-instantiate", "--store", store, "-E", expression],
        env=env,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    dump = subprocess.run(
        ["nix-store", "--store", store, "--dump-db"], env=env, capture_output=True, check=True
    ).stdout
    closure = parse_closure(dump)
    assert drv in closure
    write_nix_db(closure, tmp_path / "ours", registration_time=1, root=str(root))
    ours = rows_of(tmp_path / "ours/nix/var/nix/db/db.sqlite")
    assert {row[1] for row in ours["DerivationOutputs"]} == {"out", "dev"}
    theirs = rows_of(root / "nix/var/nix/db/db.sqlite")
    assert ours["DerivationOutputs"] == theirs["DerivationOutputs"]


def test_a_missing_derivation_is_an_error(tmp_path: Path) -> None:
    info = PathInfo(StorePath(f"{store_path(1)}.drv"), 1, Hash("sha256", bytes(32)))
    with pytest.raises(StoreError, match="can't read the derivation"):
        write_nix_db(Closure.of([info]), tmp_path / "o", registration_time=1, root=str(tmp_path))
    assert not (tmp_path / "o/nix/var/nix/db").exists()


def test_bytes_depend_on_the_registrations_alone(tmp_path: Path) -> None:
    infos = list(random_closure(300))
    written = []
    for i, order in enumerate((infos, infos[::-1], random.Random(5).sample(infos, len(infos)))):
        old = os.umask((0o022, 0o077, 0o000)[i])
        try:
            write_nix_db(Closure.of(order), tmp_path / str(i), registration_time=315532800)
        finally:
            os.umask(old)
        database = tmp_path / str(i) / "nix/var/nix/db"
        assert sorted(file.name for file in database.iterdir()) == ["db.sqlite", "schema"]
        assert {file.stat().st_mode & 0o7777 for file in database.iterdir()} == {0o644}
        assert (database.stat().st_mode & 0o7777) == 0o755
        written.append((database / "db.sqlite").read_bytes())
    assert written[0] == written[1] == written[2]


def test_the_header_does_not_depend_on_the_version_of_sqlite(tmp_path: Path) -> None:
    write_nix_db(random_closure(3), tmp_path, registration_time=1)
    header = (tmp_path / "nix/var/nix/db/db.sqlite").read_bytes()[:100]
    # Write-ahead logging, as in Nix; a change counter of 1; a constant library version.
    assert header[18:20] == b"\x02\x02"
    assert header[24:28] == header[92:96] == (1).to_bytes(4, "big")
    assert header[96:100] == (3_040_000).to_bytes(4, "big")


def test_gc_roots(tmp_path: Path) -> None:
    closure = random_closure(20)
    write_nix_db(closure, tmp_path / "own", registration_time=1)
    links = tmp_path / "own/nix/var/nix/gcroots/docker"
    assert {link.readlink() for link in links.iterdir()} == set(map(Path, closure.roots))
    chosen = store_path(3)
    write_nix_db(closure, tmp_path / "explicit", registration_time=1, gc_roots=[chosen])
    (link,) = (tmp_path / "explicit/nix/var/nix/gcroots/docker").iterdir()
    assert (link.name, str(link.readlink())) == (chosen.base_name, chosen)


def test_a_root_outside_of_the_closure_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ClosureError, match=f"the gc root {store_path(99)} is not in the closure"):
        write_nix_db(
            random_closure(3), tmp_path / "o", registration_time=1, gc_roots=[store_path(99)]
        )
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("link", ["nix", "nix/var", "nix/var/nix/gcroots"])
@pytest.mark.parametrize("dangling", [False, True])
def test_a_link_does_not_lead_out_of_the_directory(
    tmp_path: Path, link: str, dangling: bool
) -> None:
    elsewhere = tmp_path / "elsewhere"
    if not dangling:
        elsewhere.mkdir()
    path = tmp_path / "root" / link
    path.parent.mkdir(parents=True)
    path.symlink_to(elsewhere)
    message = f"{path} is a symlink or a file, not a directory; remove it or write elsewhere"
    with pytest.raises(OutputError) as caught:
        write_nix_db(random_closure(3), tmp_path / "root", registration_time=1)
    assert str(caught.value) == message
    assert caught.value.path == str(path)
    assert dangling or os.listdir(elsewhere) == []
    assert not list((tmp_path / "root").rglob("db*"))


def test_a_directory_that_is_itself_reached_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "link").symlink_to("root")
    write_nix_db(random_closure(3), tmp_path / "link", registration_time=1)
    assert (tmp_path / "root/nix/var/nix/db/db.sqlite").is_file()


def test_an_existing_database_is_kept(tmp_path: Path) -> None:
    write_nix_db(random_closure(3), tmp_path, registration_time=1)
    with pytest.raises(OutputError, match="already exists; remove it"):
        write_nix_db(random_closure(4), tmp_path, registration_time=1)


def test_a_file_is_no_directory_for_a_database(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(OutputError, match=rf"the Nix database below {file}: File exists$"):
        write_nix_db(random_closure(3), file, registration_time=1)


def run_db(
    tmp_path: Path, graph: object, *options: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    file = tmp_path / "graph.json"
    file.write_text(json.dumps(graph))
    env = environment(**variables)
    return run_text("db", file, "-o", tmp_path / "out", *options, env=env)


@pytest.mark.slow
def test_a_root_may_be_given_by_name(tmp_path: Path) -> None:
    path = store_path(1)
    done = run_db(tmp_path, [entry(1), entry(2)], "--gc-root", path.partition("-")[2])
    assert done.returncode == 0, done.stderr
    roots = tmp_path / "out/nix/var/nix/gcroots/docker"
    assert [root.readlink() for root in roots.iterdir()] == [Path(path)]


def entry(number: int, **changes: object) -> dict[str, object]:
    good = {"path": store_path(number), "narHash": f"sha256:{'0' * 52}", "narSize": 1}
    return {**good, "references": [], **changes}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("graph", "options", "message"),
    [
        ([entry(1, narHash="sha256:zz")], (), "not a valid sha256 hash"),
        ([entry(1, narHash="md5:0123456789abcdef0123456789abcdef")], (), "must be sha256"),
        ([entry(1, narHash=None)], (), "has no NAR hash"),
        ([entry(1, narSize=-1)], (), "narSize must be a whole number of bytes, not -1"),
        ([entry(1, references=[store_path(2)])], (), "which is not in the closure"),
        ([entry(1)], ("--gc-root", store_path(2)), "is not in the closure"),
        ([entry(1)], ("--gc-root", "/etc"), "is not a store path"),
    ],
)
def test_bad_input_is_an_error_and_no_file(
    tmp_path: Path, graph: object, options: tuple[str, ...], message: str
) -> None:
    done = run_db(tmp_path, graph, *options)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert not (tmp_path / "out").exists()


def test_registration_time_is_source_date_epoch(tmp_path: Path) -> None:
    assert run_db(tmp_path, [entry(1)], SOURCE_DATE_EPOCH="1234567890").returncode == 0
    rows = rows_of(tmp_path / "out/nix/var/nix/db/db.sqlite")
    assert [row[3] for row in rows["ValidPaths"]] == [1234567890]


def test_the_registration_text_reads_back(tmp_path: Path) -> None:
    closure = random_closure(50)
    text = render_registration(closure)
    assert parse_closure(text) == closure
    (tmp_path / "reg").write_bytes(text)
    assert run("registration", tmp_path / "reg").stdout == text
