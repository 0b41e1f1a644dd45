"""Image specs: which ones are valid, and the key that each error names."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import jsonschema
import msgspec
import pytest

from nixdock.errors import InputError, SpecError
from nixdock.face.sources import read_source
from nixdock.oci.location import FileLocation
from nixdock.spec import problem
from nixdock.spec.checks import parse_spec
from nixdock.spec.image_spec import ImageSpec
from nixdock.spec.reading import read_spec
from nixdock.spec.times import LATEST

SCHEMA_ID: Final = "https://nixdock.dev/schema/image-spec-1.json"

PATH = f"/nix/store/{'0' * 32}-x"
SIZE_KEY = rf"store_paths\['{PATH}'\].nar_size"
LEAST: dict[str, Any] = {"version": 1, "name": "x"}
FULL: dict[str, Any] = {
    "version": 1,
    "name": "Registry.example:5000/a/B",
    "tag": "V1",
    "architecture": "arm64",
    "variant": "v8",
    "created": "now",
    "config": {"Cmd": ["/bin/sh"]},
    "closure": {"graph": "g.json", "keys": ["k"], "exclude": [PATH]},
    "max_layers": 2,
    "store": {"directory": "/nix/store", "root": "/r", "mtime": "@1", "uid": 1, "gid": 2},
    "contents": [PATH],
    "extra_commands": "true",
    "nix_db": True,
    "from_image": None,
}


def parse(document: object) -> ImageSpec:
    return parse_spec(document, "FILE")


def spec_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) that the types of a spec amount to."""
    schema: dict[str, Any] = msgspec.json.schema(ImageSpec)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SCHEMA_ID, **schema}


@pytest.mark.parametrize("document", [LEAST, FULL])
def test_valid_specs_conform_to_the_schema(document: dict[str, Any]) -> None:
    parse(document)
    jsonschema.validate(document, spec_schema())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 2}, "FILE: version: "),
        ({"version": "1"}, "FILE: version: "),
        ({"version": None}, "FILE: version: "),
        ({"name": None}, "FILE: name: "),
        ({"unknown": 1}, "FILE: Object contains unknown field `unknown`"),
        ({"closure": {"graph": "g", "more": 1}}, "FILE: closure: .*unknown field `more`"),
        ({"closure": {"graph": "g", "exclude": [5]}}, r"FILE: closure.exclude\[0\]: "),
        ({"store": {"uid": -1}}, "FILE: store.uid: "),
        ({"store": {"gid": 2**32 - 1}}, "FILE: store.gid: "),
        ({"store": {"mtime": 1}}, "FILE: store.mtime: "),
        ({"store": {"user": "x"}}, "FILE: store: .*unknown field `user`"),
        ({"store": None}, "FILE: store: "),
        ({"store_paths": {PATH: {"nar_size": -1}}}, rf"FILE: store_paths\['{PATH}'\].nar_size: "),
        (
            {"store_paths": {PATH: {"nar_size": 2**63}}},
            rf"FILE: store_paths\['{PATH}'\].nar_size: ",
        ),
        ({"tag": 1}, "FILE: tag: "),
        ({"created": 1}, "FILE: created: "),
        ({"source_date_epoch": -1}, "FILE: source_date_epoch: "),
        ({"source_date_epoch": LATEST + 1}, "FILE: source_date_epoch: "),
        ({"source_date_epoch": "1"}, "FILE: source_date_epoch: "),
        ({"config": []}, "FILE: config: "),
        ({"nix_db": 1}, "FILE: nix_db: "),
        ({"store": {"directory": "nix"}}, "FILE: store.directory: "),
        ({"store_layers": [["a", 5]]}, r"FILE: store_layers\[0\]\[1\]: "),
        ({"max_layers": 0}, "FILE: max_layers: "),
        ({"max_layers": "9"}, "FILE: max_layers: "),
        ({"from_image": "x"}, "FILE: from_image: "),
        ({"contents": "x"}, "FILE: contents: "),
    ],
)
def test_type_errors_name_the_key_and_violate_the_schema(
    changes: dict[str, object], message: str
) -> None:
    document = {**LEAST, **changes}
    with pytest.raises(SpecError, match=message):
        parse(document)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, spec_schema())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "a b"}, "FILE: name: 'a b' is not an image name"),
        ({"tag": "-"}, "FILE: tag: '-' is not a tag"),
        ({"extra_tags": ["a", "b:-"]}, r"FILE: extra_tags\[1\]: '-' is not a tag"),
        ({"created": "soon"}, "FILE: created: 'soon' is not a time"),
        ({"created": ""}, "FILE: created: '' is not a time"),
        ({"created": "@99999999999999"}, "FILE: created: .* is after the year 9999"),
        ({"created": "9999-12-31T23:59-01:00"}, "FILE: created: .* is after the year 9999"),
        ({"created": f"@{'9' * 5000}"}, "FILE: created: .* is not a time"),
        ({"store": {"mtime": "x"}}, "FILE: store.mtime: 'x' is not a time"),
        ({"store": {"mtime": "@253402300800"}}, "FILE: store.mtime: .* is after the year 9999"),
        ({"config": {"Env": "A=1"}}, "FILE: config.Env: "),
        ({"config": {"Env": [1]}}, r"FILE: config.Env\[0\]: "),
        ({"config": {"Labels": {"a": 1}}}, r"FILE: config.Labels\['a'\]: "),
        ({"config": {"Healthcheck": {"Retries": "x"}}}, "FILE: config.Healthcheck.Retries: "),
        ({"config": {"Memory": 2**70}}, "FILE: config.Memory: "),
        ({"store_layers": [["/x"]]}, r"FILE: store_layers\[0\]\[0\]: '/x' is not a store path"),
        (
            {"store": {"directory": "/gnu/store"}, "store_layers": [[PATH]]},
            r"FILE: store_layers\[0\]\[0\]: .* is not in the store",
        ),
        (
            {"store_paths": {PATH: {"references": ["/x"]}}},
            f"FILE: store_paths.{PATH}: '/x' is not a store path",
        ),
        (
            {"store_paths": {PATH: {"deriver": "x"}}},
            f"FILE: store_paths.{PATH}: 'x' is not a store path",
        ),
        ({"store_paths": {"/x": {}}}, "FILE: store_paths./x: '/x' is not a store path"),
        ({"store_paths": {PATH: {"nar_hash": "x"}}}, "FILE: store_paths.*: 'x' is not a hash"),
        ({"store_layers": [[PATH, PATH]]}, f"FILE: store_layers: {PATH} appears twice"),
        ({"store_layers": [[PATH], [], [PATH]]}, f"FILE: store_layers: {PATH} appears twice"),
        ({"closure": {"graph": "a\0"}}, "FILE: closure.graph: .* can't be the name of a file"),
        ({"store": {"root": "a\0"}}, "FILE: store.root: .* can't be the name of a file"),
        ({"top_layer": "a\0"}, "FILE: top_layer: .* can't be the name of a file"),
        ({"contents": ["a", "a\0"]}, r"FILE: contents\[1\]: .* can't be the name of a file"),
        (
            {"closure": {"graph": "g"}, "store_layers": []},
            "FILE: store_layers: can't be combined with closure",
        ),
        (
            {"closure": {"roots": [PATH]}, "store_layers": []},
            "FILE: store_layers: can't be combined with closure",
        ),
        ({"closure": {}}, "FILE: closure: expected a graph, or roots"),
        ({"closure": {"stores": ["https://x"]}}, "FILE: closure: expected a graph, or roots"),
        (
            {"closure": {"roots": [PATH], "keys": ["k"]}},
            "FILE: closure.keys: is for a graph; add it, or omit this key",
        ),
        (
            {"top_layer": "/t", "contents": [PATH]},
            "FILE: contents: can't be combined with top_layer",
        ),
        ({"top_layer": "/t", "extra_commands": "x"}, "FILE: extra_commands: can't be combined"),
        ({"architecture": "x86_64"}, "FILE: architecture: .* 'x86_64': write amd64"),
        ({"architecture": "AArch64-linux"}, "FILE: architecture: .*: write arm64"),
        ({"architecture": "armv7l"}, "FILE: architecture: .*: write arm with the variant v7"),
        ({"architecture": "AMD64"}, "FILE: architecture: .*: write amd64"),
        ({"architecture": "z80"}, "FILE: architecture: .*: choose from 386, amd64, arm,"),
        ({"contents": [PATH, "/etc/apt"]}, r"FILE: contents\[1\]: '/etc/apt' is not in the store"),
        ({"contents": ["tree"]}, r"FILE: contents\[0\]: 'tree' is not in the store"),
        ({"contents": [f"{PATH}/../../x"]}, r"FILE: contents\[0\]: .* is not in the store"),
        (
            {"contents": [PATH], "store": {"directory": "/gnu/store"}},
            r"FILE: contents\[0\]: .* is not in the store /gnu/store",
        ),
        ({"layering": {"groups": [[PATH]]}}, "FILE: layering.groups: is for the strategy explicit"),
        ({"layering": {"plan": "p"}}, "FILE: layering.plan: is for the strategy explicit"),
        ({"layering": {"rest": "auto"}}, "FILE: layering.rest: is for the strategy explicit"),
        ({"layering": {"pipeline": "p"}}, "FILE: layering.pipeline: is for the strategy pipeline"),
        (
            {"layering": {"strategy": "auto", "previous": "p"}},
            "FILE: layering.previous: is for the strategy stable, but the strategy is auto",
        ),
        (
            {"layering": {"strategy": "explicit", "rest": "auto", "volatile": [PATH]}},
            "FILE: layering.volatile: is for the strategy stable",
        ),
        ({"config": {"Cmd": "ls -l"}}, "FILE: config.Cmd: 'ls -l' would be the name"),
        (
            {"from_image": {"path": "a\0"}},
            r"FILE: from_image\.path: .* can't be the name of a file",
        ),
        ({"perms": [{"uid": 1}]}, r"FILE: perms\[0\]: expected a path, a regex or both"),
        *(
            ({"perms": [{"regex": text}]}, r"FILE: perms\[0\].regex: .* is not a regular expr")
            for text in ("(", "a{99999999999}", "(" * 3000 + ")" * 3000, "(?L)a", "[a--b]")
        ),
        *(
            ({"store": {"directory": text}}, r"FILE: store.directory: '/.*' is not a plain abs")
            for text in (
                "/nix/../store",
                "/../nix",
                "/nix//store",
                "/nix/./store",
                "/nix/a\n",
                "/\0a",
            )
        ),
        (
            {"perms": [{"path": "/a"}, {"path": "/x", "capabilities": ["cap_x"]}]},
            r"FILE: perms\[1\].capabilities: 'cap_x': Linux has no capability 'cap_x'",
        ),
    ],
)
def test_other_errors_name_the_key(changes: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        parse({**LEAST, **changes})
    assert caught.value.path == "FILE"
    assert str(caught.value).startswith(f"FILE: {caught.value.key}: ")


def test_a_regex_that_python_warns_of_is_taken() -> None:
    assert parse({**LEAST, "perms": [{"regex": "/[[a].*"}]}).perms[0].regex == "/[[a].*"


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"name": "a b"}, "name"),
        ({"max_layers": 0}, "max_layers"),
        ({"unknown": 1}, None),
        ({"closure": {"graph": "g", "more": 1}}, "closure"),
        ({"contents": ["a", 5]}, "contents[1]"),
        ({"store_layers": [[PATH, "/x"]]}, "store_layers[0][1]"),
        ({"store_layers": [[PATH, PATH]]}, "store_layers"),
        ({"store_paths": {PATH: {"deriver": "x"}}}, f"store_paths.{PATH}"),
        ({"top_layer": "/t", "run_as_root": "x"}, "run_as_root"),
        ({"config": {"Env": [1]}}, "config.Env[0]"),
        ({"perms": [{"path": "/x", "mode": "9"}]}, "perms[0].mode"),
        ({"perms": [{"regex": "("}]}, "perms[0].regex"),
        ({"perms": [{"uid": 1}]}, "perms[0]"),
    ],
)
def test_error_fields(changes: dict[str, object], key: str | None) -> None:
    with pytest.raises(SpecError) as caught:
        parse({**LEAST, **changes})
    assert (caught.value.path, caught.value.key) == ("FILE", key)


@pytest.mark.parametrize("key", LEAST)
def test_a_missing_key_is_named_and_violates_the_schema(key: str) -> None:
    document = {name: value for name, value in LEAST.items() if name != key}
    with pytest.raises(SpecError, match=f"FILE: .*missing required field `{key}`"):
        parse(document)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, spec_schema())


def test_the_plan_of_a_resolved_spec() -> None:
    """Layers may be empty: some pipelines of dockerTools create such layers."""
    other = PATH.replace("0-x", "0-y")
    layers = [[PATH], [], [other, f"{PATH}-z"]]
    known = {PATH: {"nar_size": 5, "nar_hash": f"sha256:{'0' * 52}", "references": [other]}}
    document = {**LEAST, "store_layers": layers, "store_paths": known}
    spec = parse(document)
    jsonschema.validate(document, spec_schema())
    assert spec.store_layers == layers
    assert spec.store_paths[PATH].nar_size == 5
    assert spec.store_paths[PATH].references == [other]


def test_defaults() -> None:
    spec = parse(LEAST)
    assert (spec.tag, spec.architecture, spec.variant, spec.created) == (
        "latest",
        "amd64",
        None,
        None,
    )
    assert (spec.store.directory, spec.store.mtime) == ("/nix/store", "@1")
    assert (spec.store.uid, spec.store.gid) == (0, 0)
    assert (spec.store.uname, spec.store.gname) == ("root", "root")
    assert spec.max_layers == 100
    assert not spec.nix_db


def test_the_name_is_lower_cased_and_the_tag_kept() -> None:
    assert str(parse(FULL).references[0]) == "registry.example:5000/a/b:V1"


def test_each_name_is_kept_once() -> None:
    names = ["V1", "V2", "Other:V1", "registry.example:5000/A/b:V2"]
    spec = parse({**FULL, "extra_tags": names})
    full = "registry.example:5000/a/b"
    assert [*map(str, spec.references)] == [f"{full}:V1", f"{full}:V2", "other:V1"]


def test_the_schema_is_valid() -> None:
    schema = spec_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == jsonschema.Draft202012Validator.META_SCHEMA["$id"]


@pytest.mark.parametrize("document", [[], 5, "x", None])
def test_documents_that_are_not_objects(document: object) -> None:
    with pytest.raises(SpecError, match=r"^FILE: Expected `object`, got "):
        parse(document)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"\xff",
        b'{"version": 1, "name": "x",}',
        b'{"version": 1, "name": "x", "config": {"Cmd": %b}}' % (b"[" * 2000 + b"]" * 2000),
        b'{"version": 1, "name": "x", "config": %b1%b}' % (b'{"a":' * 9999, b"}" * 9999),
    ],
)
def test_files_that_are_not_json(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "spec.json"
    file.write_bytes(data)
    with pytest.raises(SpecError, match=rf"^{file} is not valid JSON: .* line 1 ") as caught:
        read_spec(file)
    assert caught.value.path == str(file)


def test_the_checked_in_schema_agrees_with_the_types() -> None:
    checked_in = json.loads(files("nixdock").joinpath("spec/image-spec-1.json").read_text())
    assert checked_in == spec_schema(), (
        "write json.dumps(spec_schema(), indent=2) to nixdock/spec/image-spec-1.json"
    )


def test_options_that_a_strategy_uses_are_accepted() -> None:
    rest = {"strategy": "explicit", "groups": [[PATH]], "plan": "p", "volatile": [PATH]}
    parse({**LEAST, "layering": rest})
    parse({**LEAST, "layering": {"previous": "p", "volatile": [PATH]}})
    parse({**LEAST, "layering": {"strategy": "pipeline", "pipeline": []}})
    parse({**LEAST, "contents": ["tree", "/etc"], "copy_contents": True})


def test_all_missing_keys_are_named() -> None:
    with pytest.raises(SpecError, match=r"required fields `version`, `name`$"):
        parse({})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"[]", "is a reference graph, not a spec; a spec names the graph, as in {"),
        (b'{"exportReferencesGraph": {}}', "is a reference graph, not a spec"),
        (json.dumps({PATH: {}}).encode(), "is a reference graph, not a spec"),
        (b'{"version": 2, "info": {}}', "is a reference graph, not a spec"),
        (b'{"version": 1, "layers": []}', "is a plan file, not a spec"),
        (
            b"\x1f\x8b\x08",
            "is a gzip file, not a spec; if it is an image, nixdock inspect",
        ),
        (b"x" + bytes(256) + b"ustar", "is a tar, not a spec"),
        (b"#!/bin/sh", "is a script, not a spec"),
        (b"x", "is not valid JSON"),
    ],
)
def test_other_files_than_specs_are_called_by_their_names(
    tmp_path: Path, data: bytes, message: str
) -> None:
    file = tmp_path / "file"
    file.write_bytes(data)
    with pytest.raises(SpecError) as error:
        read_spec(file)
    assert message in str(error.value)
    assert error.value.path == str(file)


@pytest.mark.parametrize(
    "flake", ["github:me/app", "git+ssh://git@example.org/app?rev=1", "path:/x"]
)
def test_flakes_that_everybody_may_know(flake: str) -> None:
    document = {**LEAST, "provenance": {"flake": flake}}
    parse(document)
    jsonschema.validate(document, spec_schema())


@pytest.mark.parametrize(
    ("flake", "message"),
    [
        (".", "FILE: provenance.flake: "),
        ("github:me app", "FILE: provenance.flake: 'github:me app' is not a URI"),
        ("git+https://me:secret@example.org/app", "FILE: provenance.flake: the URI has a password"),
    ],
)
def test_flakes_that_nobody_should_know(flake: str, message: str) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        parse({**LEAST, "provenance": {"flake": flake}})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('{"version": 1, "name": "x", "tag": "a", "tag": "b"}', "tag"),
        ('{"version": 1, "name": "x", "config": {"Cmd": ["a"], "Env": [], "Cmd": ["a"]}}', "Cmd"),
        ('{"version": 1, "name": "x", "perms": [{"path": "/a", "\\u0070ath": "/b"}]}', "path"),
    ],
)
def test_a_key_that_appears_twice(tmp_path: Path, text: str, key: str) -> None:
    file = tmp_path / "spec.json"
    file.write_text(text)
    message = f"spec.json is not valid JSON: the key '{key}' appears twice in an object"
    for read in (read_spec, lambda path: read_source(FileLocation(path))):
        with pytest.raises(InputError, match=message):
            read(file)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 2}, "FILE: version: this nixdock reads specs of version 1"),
        (
            {"layering": {"strategy": "stabel"}},
            (
                "FILE: layering.strategy: Invalid enum value 'stabel'; it must be auto, explicit,"
                " pipeline, popularity or stable"
            ),
        ),
        ({"inherit_config": "some"}, "Invalid enum value 'some'; it must be all or env"),
        ({"contnts": []}, "FILE: Object contains unknown field `contnts`; did you mean contents?"),
        ({"closure": {"grph": ""}}, "FILE: closure: Object contains unknown field `grph`; did you"),
        ({"perms": [{"pth": "/"}]}, "unknown field `pth`; did you mean path?"),
        ({"contents": [PATH, ""], "copy_contents": True}, "FILE: contents[1]: is empty"),
        ({"maxLayers": 5}, "unknown field `maxLayers`; did you mean max_layers?"),
        ({"fromImage": "x"}, "unknown field `fromImage`; did you mean from_image?"),
        ({"fromImageName": "x"}, "field `fromImageName`; a spec has from_image.name for it"),
        ({"copyToRoot": []}, "unknown field `copyToRoot`; a spec has contents for it"),
        ({"perms": [{"path": "x"}]}, "FILE: perms[0].path: Expected a path that starts with /"),
        ({"perms": [{"mode": "789"}]}, 'Expected an octal mode such as "0755"'),
        ({"store": {"directory": "nix"}}, "Expected an absolute path, without a slash at its end"),
    ],
)
def test_mistakes_are_explained(changes: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError) as error:
        parse({**LEAST, **changes})
    assert message in str(error.value)
    assert "regex" not in str(error.value)


def test_patterns_of_types_have_words() -> None:
    patterns = set(re.findall(r'"pattern": "((?:[^"\\\\]|\\\\.)*)"', json.dumps(spec_schema())))
    assert patterns <= set(problem._PATTERNS)


def test_other_names_are_those_of_keys_that_there_are() -> None:
    names = {name for text in problem._DOCKER_TOOLS.values() for name in text.split(", and ")}
    for name in names:
        properties = spec_schema()["$defs"]["ImageSpec"]["properties"]
        for part in name.split("."):
            assert part in properties, name
            value = properties[part]
            (kind,) = re.findall(r"#/\$defs/(\w+)", json.dumps(value)) or [""]
            properties = spec_schema()["$defs"].get(kind, {}).get("properties", {})
