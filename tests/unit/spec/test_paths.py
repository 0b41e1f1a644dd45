"""The names of files in a spec: the table of their keys, and what each name is relative to."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import msgspec.inspect
import pytest
from click.testing import CliRunner

from nixdock.cli import main
from nixdock.errors import SpecError
from nixdock.spec.checks import parse_spec
from nixdock.spec.image_spec import ImageSpec
from nixdock.spec.layering_spec import LayeringSpec
from nixdock.spec.paths import absolute_file_names, file_names, rebase_file_names
from nixdock.spec.reading import read_spec

FILE_KEYS: Final = {
    "closure.graph",
    "contents",
    "from_image.path",
    "layering.pipeline",
    "layering.plan",
    "layering.previous",
    "store.root",
    "top_layer",
}
OTHER_KEYS: Final = {
    *("name", "tag", "extra_tags", "architecture", "variant", "created"),
    *("extra_commands", "fake_root_commands", "run_as_root"),
    *("closure.keys", "closure.roots", "closure.exclude", "layering.volatile", "store_layers"),
    *("closure.stores", "closure.trusted_public_keys", "closure.derivations"),
    *("store_paths.nar_hash", "store_paths.references", "store_paths.deriver"),
    *("store.directory", "store.mtime", "store.uname", "store.gname"),
    *("from_image.name", "from_image.tag", "from_image.reference"),
    *("perms.path", "perms.regex", "perms.mode", "perms.uname", "perms.gname"),
    "perms.capabilities",
    *("labels", "annotations", "layer_annotations"),
    *("provenance.flake", "provenance.revision", "provenance.nix_version", "provenance.system"),
}


def string_keys(kind: msgspec.inspect.Type, key: str = "") -> Iterator[str]:
    """Yield the keys whose values are strings or contain strings."""
    match kind:
        case msgspec.inspect.Metadata(type=inner):
            yield from string_keys(inner, key)
        case msgspec.inspect.StructType(fields=fields):
            for field in fields:
                yield from string_keys(field.type, f"{key}.{field.encode_name}".lstrip("."))
        case msgspec.inspect.UnionType(types=members):
            for member in members:
                yield from string_keys(member, key)
        case msgspec.inspect.ListType(item_type=item):
            yield from string_keys(item, key)
        case msgspec.inspect.DictType(value_type=value):
            yield from string_keys(value, key)
        case msgspec.inspect.StrType():
            yield key


def spec_with(name: Callable[[str], str]) -> ImageSpec:
    """Return a spec in which every file has the name that `name` gives for its key."""
    document = {
        "version": 1,
        "name": "x",
        "store": {"root": name("store.root")},
        "closure": {"graph": name("closure.graph")},
        "contents": [name("contents[0]"), name("contents[1]")],
        "copy_contents": True,
        "from_image": {"path": name("from_image.path")},
    }
    # `top_layer` replaces `contents`, and each strategy has its own files, so that no valid spec
    # has all of them.
    layering = LayeringSpec(
        previous=name("layering.previous"),
        plan=name("layering.plan"),
        pipeline=name("layering.pipeline"),
    )
    spec = parse_spec(document, "FILE")
    return msgspec.structs.replace(spec, top_layer=name("top_layer"), layering=layering)


def test_the_table_lists_every_key_with_files() -> None:
    """A new key with a string must be added to one of the two sets above."""
    keys = set(string_keys(msgspec.inspect.type_info(ImageSpec)))
    assert keys == FILE_KEYS | OTHER_KEYS
    listed = dict(file_names(spec_with(lambda key: f"/{key}")))
    assert {key.partition("[")[0] for key in listed} == FILE_KEYS
    assert listed == {key: f"/{key}" for key in listed}


def test_absent_files_have_no_names() -> None:
    assert dict(file_names(ImageSpec(version=1, name="x"))) == {}


def test_relative_names_are_counted_from_the_directory() -> None:
    spec = spec_with(lambda key: f"../{key}")
    assert rebase_file_names(spec, Path("/a/b")) == spec_with(lambda key: f"/a/b/../{key}")
    assert rebase_file_names(spec, Path("a")) == spec_with(lambda key: f"a/../{key}")


def test_absolute_names_are_unchanged() -> None:
    spec = spec_with(lambda key: f"/dir/{key}")
    assert rebase_file_names(spec, Path("/elsewhere")) == spec
    assert absolute_file_names(spec) == spec


def test_absolute_file_names_are_counted_from_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    spec = spec_with(lambda key: key)
    assert absolute_file_names(spec) == spec_with(lambda key: f"{tmp_path}/{key}")


def test_other_keys_are_unchanged() -> None:
    path = f"/nix/store/{'0' * 32}-x"
    document: dict[str, Any] = {
        "version": 1,
        "name": "name",
        "config": {"Cmd": ["cmd"]},
        "closure": {"graph": "/g", "keys": ["key"], "exclude": [path]},
        "layering": {"strategy": "explicit", "volatile": ["volatile"], "groups": [["group"]]},
        "from_image": {"path": "/i", "name": "name", "tag": "tag"},
        "perms": [{"path": "/x", "mode": "755"}],
        "extra_commands": "true",
    }
    spec = parse_spec(document, "FILE")
    assert rebase_file_names(spec, Path("/elsewhere")) == spec


REMOTE = f"docker://ghcr.io/a/b@sha256:{'0' * 64}"


@pytest.mark.parametrize(
    ("location", "rebased"),
    [
        ("base.tar", "/specs/base.tar"),
        ("a:b", "/specs/a:b"),
        ("./oci:b", "/specs/oci:b"),
        ("oci:base:v1", "oci:/specs/base:v1"),
        ("oci-archive:../base.tar", "oci-archive:/specs/../base.tar"),
        ("docker-archive:/base.tar:host:5000/a:v1", "docker-archive:/base.tar:host:5000/a:v1"),
        (REMOTE, REMOTE),
    ],
)
def test_only_the_path_in_a_location_is_relative(location: str, rebased: str) -> None:
    document = {
        "version": 1,
        "name": "x",
        "from_image": {"path": location},
        "layering": {"previous": location},
    }
    spec = rebase_file_names(parse_spec(document, "FILE"), Path("/specs"))
    assert dict(file_names(spec)) == {"from_image.path": rebased, "layering.previous": rebased}
    assert absolute_file_names(spec) == spec


def test_a_special_name_stays_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    document = {"version": 1, "name": "x", "from_image": {"path": "./oci:b"}}
    spec = rebase_file_names(parse_spec(document, "FILE"), Path())
    assert dict(file_names(spec)) == {"from_image.path": "./oci:b"}
    monkeypatch.chdir(tmp_path)
    assert dict(file_names(absolute_file_names(spec))) == {"from_image.path": f"{tmp_path}/oci:b"}


def test_a_location_in_a_directory_with_a_colon() -> None:
    document = {"version": 1, "name": "x", "from_image": {"path": "oci:base:v1"}}
    with pytest.raises(SpecError) as error:
        rebase_file_names(parse_spec(document, "FILE"), Path("/a:b"))
    assert str(error.value) == (
        "from_image.path: oci:/a:b/base:v1 can't name an image, because there is a colon in the"
        " name of its directory"
    )


FOREIGN = (
    "from_image.path: dir:x is a location of skopeo that nixdock does not read; copy the image"
    " first: skopeo copy dir:x oci:DIRECTORY:TAG"
)
SEVERAL = "is for files with several images; omit it, and use the tag in the path"


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"from_image": {"path": "dir:x"}}, FOREIGN),
        (
            {"layering": {"previous": "oci:"}},
            "layering.previous: oci: is not a location: expected oci:PATH[:NAME]",
        ),
        ({"from_image": {"path": REMOTE, "name": "x"}}, f"from_image.name: {SEVERAL}"),
        ({"from_image": {"path": REMOTE, "tag": "x"}}, f"from_image.tag: {SEVERAL}"),
    ],
)
def test_wrong_locations_are_errors_of_the_spec(document: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as error:
        parse_spec({"version": 1, "name": "x"} | document, "FILE")
    assert str(error.value) == f"FILE: {message}"


@pytest.mark.parametrize("pipeline", [[["popularity_contest"]], [], None])
def test_inline_pipelines_are_unchanged(pipeline: list[Any] | None) -> None:
    layering = {"strategy": "pipeline", "pipeline": pipeline}
    document = {"version": 1, "name": "x", "layering": layering}
    spec = parse_spec(document, "FILE")
    assert dict(file_names(spec)) == {}
    assert rebase_file_names(spec, Path("/elsewhere")) == spec


def test_read_spec_counts_from_the_directory_of_the_spec(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name of the spec itself may be relative to the current directory."""
    (tmp_path / "specs").mkdir()
    file = tmp_path / "specs" / "spec.json"
    document = {"version": 1, "name": "x", "closure": {"graph": "g.json"}, "contents": ["/c", "c"]}
    document["copy_contents"] = True
    file.write_text(json.dumps(document))
    names = {"closure.graph": f"{tmp_path}/specs/g.json", "contents[0]": "/c"}
    names["contents[1]"] = f"{tmp_path}/specs/c"
    assert dict(file_names(read_spec(file))) == names
    monkeypatch.chdir(tmp_path)
    assert dict(file_names(absolute_file_names(read_spec(Path("specs/spec.json"))))) == names


def run(*arguments: str | Path) -> str:
    """Run nixdock in the current directory and return its standard output."""
    result = CliRunner().invoke(main, list(map(str, arguments)))
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


@pytest.mark.parametrize(
    ("changes", "relative"),
    [
        (
            {"store": {"root": "root"}, "from_image": {"path": "base.tar"}},
            {"store.root": "root", "from_image.path": "base.tar"},
        ),
        (
            {"store": {}, "closure": None, "contents": ["tree"], "copy_contents": True},
            {"contents[0]": "tree"},
        ),
        (
            {"store": {"root": "root"}, "contents": [], "extra_commands": "", "top_layer": "top"},
            {"store.root": "root", "top_layer": "top"},
        ),
    ],
)
def test_a_resolved_spec_can_be_built_in_another_directory(
    tmp_path: Path,
    sample_spec: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, object],
    relative: dict[str, str],
) -> None:
    specs, elsewhere = tmp_path / "specs", tmp_path / "elsewhere"
    for directory in (specs / "tree", elsewhere):
        directory.mkdir(parents=True)
    (specs / "tree" / "file").write_text("contents")
    base = sample_spec(specs, closure=None, contents=[], extra_commands="touch base")
    run("build", base, "-q", "-o", specs / "base.tar")
    run("top-layer", base, "-o", specs / "top")
    sample_spec(specs, **changes)
    monkeypatch.chdir(specs)
    digests = run("build", "spec.json", "--dry-run")
    run("resolve", "spec.json", "-o", "resolved.json")
    monkeypatch.chdir(elsewhere)
    names = dict(file_names(read_spec(specs / "resolved.json")))
    assert names.items() >= {key: f"{specs}/{name}" for key, name in relative.items()}.items()
    assert run("build", specs / "resolved.json", "--dry-run") == digests
    (specs / "resolved.json").rename("moved.json")
    assert run("build", "moved.json", "--dry-run") == digests


def test_contents_outside_of_the_store_are_not_below_its_root(
    tmp_path: Path, sample_spec: Callable[..., Path]
) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/file").write_text("from the directory of the spec")
    app = f"/nix/store/{'d' * 32}-app"
    spec = sample_spec(tmp_path, contents=[app, "tree"], copy_contents=True)
    run("top-layer", spec, "-o", tmp_path / "top")
    with tarfile.open(tmp_path / "top/layer.tar") as tar:
        names = tar.getnames()
    assert {"file", "bin/app"} <= {name.lstrip("./") for name in names}
