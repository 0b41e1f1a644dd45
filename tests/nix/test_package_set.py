"""Check the package set: that it builds, that it runs, and that it is nixpkgs-shaped."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from . import debian
from .harness import BareRoot, Nix, NixError

pytestmark = pytest.mark.nix

APPLICATION = {
    "pyproject.toml": """
        [build-system]
        requires = ["hatchling"]
        build-backend = "hatchling.build"
        [project]
        name = "greeter"
        version = "1.2"
        dependencies = [
          "orjson", "networkx", "click", "msgspec", "pynacl", "rich", "urllib3", "waitress",
          "backports.zstd", "bcrypt"
        ]
        [project.scripts]
        greeter = "greeter:main"
    """,
    "greeter/__init__.py": """
import ctypes, os
import bcrypt, click, msgspec, nacl, networkx, orjson, rich, urllib3, waitress
from backports import zstd

@click.command()
@click.option("--count", default=3)
def main(count):
    ctypes.CDLL(os.environ["LIBDEFLATE"]).libdeflate_alloc_compressor
    packed = zstd.decompress(zstd.compress(orjson.dumps({"count": count})))
    nodes = networkx.path_graph(count).number_of_nodes()
    print(msgspec.json.decode(packed)["count"], nodes)
""",
}


@pytest.mark.parametrize(
    ("attribute", "command", "expected"),
    [
        ("hello", ["bin/hello"], "Hello, world!\n"),
        ("bash", ["bin/bash", "-c", "echo $((6 * 7))"], "42\n"),
        ("bash", ["bin/sh", "-c", "echo sh"], "sh\n"),
        ("coreutils", ["bin/basename", "/a/b"], "b\n"),
        ("busybox", ["bin/busybox", "echo", "static"], "static\n"),
        ("gnutar", ["bin/tar", "--version"], "tar (GNU tar)"),
        ("nginx", ["bin/nginx", "-h"], ""),
        ("redis", ["bin/redis-server", "--version"], "Redis server v="),
        ("sqlite", ["bin/sqlite3", ":memory:", "select 6 * 7"], "42\n"),
        ("ruff", ["bin/ruff", "--version"], "ruff "),
        ("python3Packages.mypy", ["bin/mypy", "--version"], "mypy "),
        ("jq", ["bin/jq", "-n", "1+1"], "2\n"),
        ("python3", ["bin/python3", "-c", "import ssl, sqlite3, ctypes; print(1)"], "1\n"),
        ("pythonNumpy", ["bin/python3", "-c", "import numpy; print(numpy.eye(2).sum())"], "2.0\n"),
    ],
)
def test_runs_on_the_store_alone(
    nix: Nix, bare_root: BareRoot, attribute: str, command: list[str], expected: str
) -> None:
    program, *args = command
    output = bare_root.run(nix.build(f"pkgs.{attribute}") / program, *args)
    assert output.startswith(expected)


def test_fakeroot(nix: Nix, bare_root: BareRoot) -> None:
    (bare_root.path / "tmp").mkdir()
    fakeroot, coreutils = nix.build("pkgs.fakeroot"), nix.build("pkgs.coreutils")
    output = bare_root.run(fakeroot / "bin/fakeroot", "--", coreutils / "bin/id", "-u")
    assert output == "0\n"


def test_science(nix: Nix, bare_root: BareRoot) -> None:
    science = nix.build("pkgs.science")
    closure = nix.closure(science)
    sizes = [int(size) for size in nix.store("--query", "--size", *closure).split()]
    assert len(closure) >= 150
    assert sum(sizes) >= 800_000_000
    (bare_root.path / "tmp").mkdir()
    code = """
import matplotlib, numpy, pandas, scipy.linalg, scipy.stats, skimage, sklearn
matplotlib.use("Agg")
from matplotlib import pyplot
pyplot.plot([1, 2])
pyplot.savefig("/tmp/plot.png")
print(scipy.linalg.det(numpy.eye(3)), pandas.Series([1, 2]).sum())
"""
    home = {"HOME": "/tmp", "MPLCONFIGDIR": "/tmp"}
    assert bare_root.run(science / "bin/python3", "-c", code, env=home) == "1.0 3\n"
    assert (bare_root.path / "tmp/plot.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("attribute", ["hello", "libdeflate", "python3", "wheels.orjson"])
def test_builds_are_reproducible(nix: Nix, attribute: str) -> None:
    nix.build(f"pkgs.{attribute}")
    nix.build(f"pkgs.{attribute}", "--check")


def test_a_build_sees_the_store_only(nix: Nix) -> None:
    listing = nix.build(
        'pkgs.runCommand "root" { } "ls / >$out; for d in /usr /lib /lib64; do test ! -e $d; done"'
    )
    assert "usr" not in listing.read_text().split()


VECTORS: list[tuple[str, Any]] = [
    ('toLower "ABC-Xyz9"', "abc-xyz9"),
    ('makeBinPath [ "/a" "/b" ]', "/a/bin:/b/bin"),
    ('makeLibraryPath [ "/a" ]', "/a/lib"),
    ("[ (optional true 1) (optional false 1) (optionals true [ 1 2 ]) ]", [[1], [], [1, 2]]),
    ("optionalAttrs false { a = 1; }", {}),
    ('[ (optionalString true "x") (optionalString false "x") ]', ["x", ""]),
    ('warnIf true "noticed" 3', 3),
    ('throwIfNot true "no" 3', 3),
    ('(builtins.tryEval (throwIf true "yes" 3)).success', False),
    ('(builtins.tryEval (assertMsg false "no")).success', False),
    ('escapeShellArg "it\'s"', "'it'\\''s'"),
    ('escapeShellArgs [ "a b" "plain" 3 ]', "'a b' plain 3"),
    ('removeSuffix ".nix" "default.nix"', "default"),
    ('removePrefix "a" "banana"', "banana"),
    ('[ (hasPrefix "" "a") (hasSuffix "longer" "er") (hasSuffix "er" "longer") ]', [1, 0, 1]),
    ('splitString "." "a.b..c"', ["a", "b", "", "c"]),
    ("[ (head [ 1 2 ]) (last [ 1 2 ]) (toList 1) (toList [ 1 ]) ]", [1, 2, [1], [1]]),
    ("filterAttrs (_: v: v > 1) { a = 1; b = 2; }", {"b": 2}),
    ("mapAttrs' (n: v: nameValuePair (n + n) (v + 1)) { a = 1; }", {"aa": 2}),
    ('mapAttrsToList (n: v: n + v) { a = "1"; b = "2"; }', ["a1", "b2"]),
    ('genAttrs [ "a" ] (n: n + n)', {"a": "aa"}),
    ("recursiveUpdate { a = { b = 1; c = 2; }; } { a.b = 3; }", {"a": {"b": 3, "c": 2}}),
    ("unique [ 1 2 1 3 2 ]", [1, 2, 3]),
    ("pipe 1 [ (x: x + 1) (x: x * 10) ]", 20),
    ("fix (self: { a = 1; b = self.a + 1; })", {"a": 1, "b": 2}),
    (
        """fix (extends
          (composeExtensions (_: p: { a = p.a + 1; }) (f: p: { b = f.a + p.a; }))
          (_: { a = 1; }))""",
        {"a": 2, "b": 4},
    ),
    ('[ (versionAtLeast "2.10" "2.9") (versionAtLeast "2.8" "2.9") ]', [True, False]),
    ("functionArgs (setFunctionArgs (_: 1) { a = true; })", {"a": True}),
    ("isFunction (setFunctionArgs (_: 1) { })", True),
    ("((makeOverridable ({ a, b ? 2 }: { c = a + b; })) { a = 1; }).c", 3),
    ("(((makeOverridable ({ a, b ? 2 }: { c = a + b; })) { a = 1; }).override { b = 9; }).c", 10),
    (
        "((makeOverridable ({ a }: { c = a; }) { a = 1; }).override (old: { a = old.a + 1; })).c",
        2,
    ),
    (
        """(((makeOverridable ({ a, b ? 2 }: { c = a + b; }) { a = 1; })
          .override { b = 9; }).override { a = 5; }).c""",
        14,
    ),
    ("functionArgs (makeOverridable ({ a, b ? 2 }: { }))", {"a": False, "b": True}),
    ("((makeOverridable ({ a }: b: a + b) { a = 1; }).override { a = 2; }) 3", 5),
    ("licenses.mit.spdxId", "MIT"),
    ('elem "x86_64-linux" platforms.linux && elem "x86_64-linux" systems.flakeExposed', True),
    ('hashString "sha256" ""', "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
]


def test_lib(nix: Nix) -> None:
    values = nix.evaluate(f"with pkgs.lib; [ {' '.join(f'({case})' for case, _ in VECTORS)} ]")
    expected = [value for _, value in VECTORS]
    assert dict(zip((case for case, _ in VECTORS), values, strict=True)) == dict(
        zip((case for case, _ in VECTORS), expected, strict=True)
    )


NAMES = """
    toLower makeOverridable setFunctionArgs functionArgs makeBinPath makeLibraryPath optional
    optionals optionalAttrs optionalString warn warnIf throwIf throwIfNot assertMsg concatStringsSep
    concatMapStringsSep concatStrings concatMap escapeShellArg escapeShellArgs removeSuffix
    removePrefix hasPrefix hasSuffix splitString head last elem filter isList isString isAttrs
    isDerivation toList getExe getExe' getBin getAttr attrNames mapAttrs mapAttrs' mapAttrsToList
    filterAttrs genAttrs nameValuePair recursiveUpdate recurseIntoAttrs extendDerivation unique
    foldl' fix extends composeExtensions id const flip pipe importJSON fileContents versionAtLeast
    substring stringLength replaceStrings generators cleanSource fileset licenses maintainers
    platforms systems hashString sourceTypes
"""


def test_lib_is_complete(nix: Nix) -> None:
    assert set(NAMES.split()) <= set(nix.evaluate("pkgs.lib.attrNames pkgs.lib"))


def test_extension_modules_load(nix: Nix, bare_root: BareRoot) -> None:
    python = nix.build("pkgs.python3")
    wheels = nix.evaluate("map toString (builtins.attrValues pkgs.wheels)")
    nix.build("builtins.attrValues pkgs.wheels")
    libraries = [str(path) for wheel in wheels for path in sorted(Path(wheel).rglob("*.so"))]
    assert libraries
    code = "import ctypes, sys\nfor path in sys.argv[1:]: ctypes.PyDLL(path)"
    bare_root.run(python / "bin/python3", "-c", code, *libraries)


def test_sources(nix: Nix, tmp_path: Path) -> None:
    for name in ("kept/file", "kept/other.o", ".git/config", "dropped/file"):
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    root = tmp_path / "tree"
    clean = Path(nix.evaluate(f'"${{pkgs.lib.cleanSource {root}}}"'))
    assert sorted(p.name for p in clean.iterdir()) == ["dropped", "kept"]
    assert [p.name for p in (clean / "kept").iterdir()] == ["file"]
    chosen = Path(
        nix.evaluate(
            f"""with pkgs.lib.fileset; "${{toSource {{
              root = {root};
              fileset = difference
                (unions [ {root}/kept (maybeMissing {root}/none) ])
                {root}/kept/file;
            }}}}" """
        )
    )
    assert [str(p.relative_to(chosen)) for p in chosen.rglob("*.o")] == ["kept/other.o"]
    assert not (chosen / "dropped").exists()


def test_packages_have_what_nixpkgs_has(nix: Nix) -> None:
    assert nix.evaluate(
        """with pkgs; {
          exe = lib.getExe hello == "${hello}/bin/hello";
          exe' = lib.getExe' coreutils "ls" == "${coreutils}/bin/ls";
          inherit (hello) pname version;
          derivation = lib.isDerivation hello;
          interpreter = python3.interpreter == "${python3}/bin/python3.11";
          inherit (python3) sitePackages;
          go = stdenv.hostPlatform.go;
          inherit system;
        }"""
    ) == {
        "exe": True,
        "exe'": True,
        "pname": "hello",
        "version": "2.10",
        "derivation": True,
        "interpreter": True,
        "sitePackages": "lib/python3/dist-packages",
        "go": {"GOARCH": "amd64", "GOARM": "", "GOOS": "linux"},
        "system": "x86_64-linux",
    }


def test_overlays_call_package_and_override(nix: Nix) -> None:
    expression = """
      let
        over = final: prev: {
          mine = final.callPackage ({ hello, lib, suffix ? "a" }: final.stdenv.mkDerivation (self: {
            pname = "mine";
            version = "1";
            buildCommand = "echo ${self.version}${suffix} >$out";
            passthru.hello = hello.pname;
          })) { };
        };
        inherit (pkgs.extend over) mine;
        changed = (mine.override { suffix = "b"; }).overrideAttrs (old: { version = "2"; });
        again = (mine.overrideAttrs { version = "3"; }).override { suffix = "c"; };
      in
    """
    assert nix.evaluate(
        f"{expression} [ mine.name mine.hello changed.name changed.hello again.name ]"
    ) == ["mine-1", "hello", "mine-2", "hello", "mine-3"]
    assert nix.build(f"{expression} changed").read_text() == "2b\n"
    assert nix.build(f"{expression} again").read_text() == "3c\n"


def test_structured_attributes(nix: Nix) -> None:
    out = nix.build(
        """with pkgs; stdenv.mkDerivation {
          name = "graph";
          __structuredAttrs = true;
          exportReferencesGraph.closure = [ hello ];
          env.GREETING = "good morning";
          words = [ "a b" "c" ];
          nested.deep = [ 1 { x = true; } ];
          buildCommand = ''
            mkdir $out
            cp "$NIX_ATTRS_JSON_FILE" $out/attrs.json
            printf '%s\\n' "''${words[@]}" "$GREETING" >$out/words
          '';
        }"""
    )
    attrs = json.loads((out / "attrs.json").read_text())
    assert attrs["nested"] == {"deep": [1, {"x": True}]}
    assert (out / "words").read_text() == "a b\nc\ngood morning\n"
    hello = str(nix.build("pkgs.hello"))
    entry = next(entry for entry in attrs["closure"] if entry["path"] == hello)
    assert entry["narHash"].startswith("sha256:")
    assert entry["narSize"] == int(nix.store("--query", "--size", Path(hello)))
    assert set(entry["references"]) < {other["path"] for other in attrs["closure"]}


def test_closure_info(nix: Nix, tmp_path: Path) -> None:
    info = nix.build("pkgs.closureInfo { rootPaths = [ pkgs.hello ]; }")
    paths = (info / "store-paths").read_text().split()
    closure = nix.closure(nix.build("pkgs.hello"))
    assert sorted(paths) == sorted(map(str, closure))
    sizes = map(int, nix.store("--query", "--size", *closure).split())
    assert int((info / "total-nar-size").read_text()) == sum(sizes)
    scratch = f"local?root={tmp_path}"
    with (info / "registration").open() as registration:
        loaded = os.spawnvpe(
            os.P_WAIT,
            "sh",
            ["sh", "-c", 'nix-store --store "$0" --load-db <"$1"', scratch, registration.name],
            nix.env,
        )
    assert loaded == 0
    known = nix.run("nix-store", "--store", scratch, "--query", "--requisites", paths[-1])
    assert set(known.split()) <= set(paths)


def test_nix_runs_in_a_build(nix: Nix) -> None:
    out = nix.build(
        """with pkgs; runCommand "db" { nativeBuildInputs = [ nix sqlite ]; } ''
          export USER=nobody HOME=$PWD NIX_STATE_DIR=$PWD/state NIX_REMOTE=local
          nix-store --load-db <${closureInfo { rootPaths = [ hello ]; }}/registration
          sqlite3 state/db/db.sqlite 'select count(*) from ValidPaths' >$out
        ''"""
    )
    assert int(out.read_text()) == len(nix.closure(nix.build("pkgs.hello")))


def test_generic_build(nix: Nix, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "script").write_text("#!/bin/sh\necho @what@ $0\n")
    (source / "script").chmod(0o755)
    out = nix.build(
        f"""with pkgs; stdenv.mkDerivation {{
          pname = "script";
          version = "1";
          src = {source};
          outputs = [ "out" "doc" ];
          nativeBuildInputs = [ makeWrapper ];
          postPatch = "substituteInPlace script --replace-fail @what@ patched";
          buildPhase = "runHook preBuild; runHook postBuild";
          preBuild = "echo built >built";
          doCheck = true;
          checkPhase = "test -e built";
          installPhase = ''
            install -D script $out/bin/script
            mkdir $doc
            wrapProgram $out/bin/script --set WHO me --add-flags "-v" --prefix PATH : ${{hello}}/bin
          '';
        }}"""
    )
    assert "patched" in nix.run(out / "bin/script")
    assert (out / "bin/.script-wrapped").read_text().startswith("#!/nix/store/")
    assert "export WHO=me" in (out / "bin/script").read_text()


def test_trivial_builders(nix: Nix, bare_root: BareRoot) -> None:
    farm = nix.build(
        """with pkgs; linkFarm "farm" {
          text = writeText "text" "it's\\n";
          dir = writeTextDir "a/b" "c";
          script = writeShellScript "script" "echo script";
          bin = writeShellScriptBin "bin" "echo bin";
          app = writeShellApplication { name = "app"; runtimeInputs = [ hello ]; text = "hello"; };
          joined = symlinkJoin { name = "joined"; paths = [ hello jq ]; postBuild = "ls $out"; };
          env = buildEnv { name = "env"; paths = [ hello coreutils ]; pathsToLink = [ "/bin" ]; };
          file = emptyFile;
          directory = emptyDirectory;
        }"""
    )
    assert (farm / "text").read_text() == "it's\n"
    assert (farm / "dir/a/b").read_text() == "c"
    assert bare_root.run(farm / "script") == "script\n"
    assert bare_root.run(farm / "bin/bin/bin") == "bin\n"
    assert bare_root.run(farm / "app/bin/app") == "Hello, world!\n"
    assert bare_root.run(farm / "joined/bin/hello") == "Hello, world!\n"
    assert {"hello", "ls"} <= {path.name for path in (farm / "env/bin").iterdir()}
    assert not (farm / "env/share").exists()
    assert (farm / "file").read_bytes() == b""
    assert list((farm / "directory").iterdir()) == []


def test_python_application(nix: Nix, bare_root: BareRoot, tmp_path: Path) -> None:
    for name, text in APPLICATION.items():
        path = tmp_path / "application" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    out = nix.build(
        f"""with pkgs; with python3Packages; buildPythonApplication {{
          pname = "greeter";
          version = "1.2";
          src = {tmp_path / "application"};
          pyproject = true;
          build-system = [ hatchling ];
          dependencies = [
            orjson networkx click msgspec pynacl rich urllib3 waitress backports-zstd bcrypt
          ];
          nativeCheckInputs = [ pytest hypothesis ];
          pythonImportsCheck = [ "greeter" ];
          makeWrapperArgs = [ "--set" "LIBDEFLATE" "${{libdeflate}}/lib/libdeflate.so.0" ];
        }}"""
    )
    assert bare_root.run(out / "bin/greeter", "--count", "4") == "4 4\n"


def test_flake(nix: Nix, pkgs: Path, tmp_path: Path) -> None:
    (tmp_path / "flake.nix").write_text(
        """{
          inputs.nixpkgs.url = "github:NixOS/nixpkgs";
          outputs = { nixpkgs, ... }: {
            name = nixpkgs.legacyPackages.x86_64-linux.hello.name;
            lower = nixpkgs.lib.toLower "A";
            packages.x86_64-linux.default = nixpkgs.legacyPackages.x86_64-linux.hello;
          };
        }"""
    )
    override = ("--override-input", "nixpkgs", f"path:{pkgs}", "--no-write-lock-file")
    flake = f"path:{tmp_path}"
    assert nix.nix("eval", "--raw", f"{flake}#lower", *override) == "a"
    nix.nix("build", "--no-link", flake, *override)
    built = nix.nix("eval", "--raw", f"{flake}#packages.x86_64-linux.default", *override)
    assert Path(built) == nix.build("pkgs.hello")


def test_collisions_are_errors(nix: Nix) -> None:
    clashing = """with pkgs; buildEnv {
      name = "env";
      paths = [ (writeTextDir "a" "1") (writeTextDir "a" "2") ];
      ignoreCollisions = %s;
    }"""
    with pytest.raises(NixError, match="collision between"):
        nix.build(clashing % "false")
    assert (nix.build(clashing % "true") / "a").read_text() == "1"


def test_failures_say_why(nix: Nix) -> None:
    with pytest.raises(NixError, match="no such luck"):
        nix.evaluate('throw "no such luck"')


def test_preparing_twice_changes_nothing(pkgs: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in pkgs.rglob("*")}
    assert debian.prepare() == pkgs
    assert {path: path.stat().st_mtime_ns for path in pkgs.rglob("*")} == before


def test_cycles_break_at_the_bottom() -> None:
    graph = {
        "libc6": {"libgcc-s1"},
        "libgcc-s1": {"libc6", "gcc-12-base"},
        "gcc-12-base": set[str](),
        "b": {"a", "libc6"},
        "a": {"b"},
    }
    assert debian.break_cycles(graph) == {
        "libc6": set(),
        "libgcc-s1": {"libc6", "gcc-12-base"},
        "gcc-12-base": set(),
        "b": {"a", "libc6"},
        "a": set(),
    }
