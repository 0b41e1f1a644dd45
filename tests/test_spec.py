"""Specs, stream configurations and config objects: what is accepted, and which key is at fault."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from nixdock.build import read_spec
from nixdock.container_config import container_config
from nixdock.errors import SpecError
from nixdock.spec import checked_config, parse_spec, spec_schema
from nixdock.stream_conf import is_stream_conf, parse_stream_conf

PATH = f"/nix/store/{'0' * 32}-x"
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
CONF: dict[str, Any] = {
    "architecture": "amd64",
    "config": {"Cmd": ["x"]},
    "os": "linux",
    "variant": "",
    "store_dir": "/nix/store",
    "from_image": None,
    "store_layers": [[PATH], []],
    "customisation_layer": "/nix/store/top",
    "repo_tag": "name:Tag",
    "created": "now",
    "mtime": "1970-01-01T00:00:01+00:00",
    "uid": "1000",
    "gid": "100",
    "uname": "u",
    "gname": "g",
}


def parse(document: object) -> Any:
    return parse_spec(json.dumps(document).encode(), "FILE")


@pytest.mark.parametrize("document", [LEAST, FULL])
def test_what_is_accepted_fits_the_schema(document: dict[str, Any]) -> None:
    parse(document)
    jsonschema.validate(document, spec_schema())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 2}, "FILE: version: "),
        ({"name": None}, "FILE: name: "),
        ({"unknown": 1}, "FILE: Object contains unknown field `unknown`"),
        ({"closure": {"graph": "g", "more": 1}}, "FILE: closure: .*unknown field `more`"),
        ({"closure": {}}, "FILE: closure: .*missing required field `graph`"),
        ({"store": {"uid": -1}}, "FILE: store.uid: "),
        ({"store": {"directory": "nix"}}, "FILE: store.directory: "),
        ({"store_layers": [["a", 5]]}, r"FILE: store_layers\[0\]\[1\]: "),
        ({"max_layers": 0}, "FILE: max_layers: "),
        ({"max_layers": "9"}, "FILE: max_layers: "),
        ({"from_image": "x"}, "FILE: from_image: "),
        ({"contents": "x"}, "FILE: contents: "),
    ],
)
def test_type_errors_name_the_key_and_break_the_schema(
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
        ({"tag": "-"}, "FILE: name: '-' is not a tag"),
        ({"created": "soon"}, "FILE: created: 'soon' is not a time"),
        ({"store": {"mtime": "x"}}, "FILE: store.mtime: 'x' is not a time"),
        ({"config": {"Env": "A=1"}}, "FILE: config.Env: "),
        ({"config": {"Env": [1]}}, r"FILE: config.Env\[0\]: "),
        ({"config": {"Labels": {"a": 1}}}, r"FILE: config.Labels\[...\]: "),
        ({"config": {"Healthcheck": {"Retries": "x"}}}, "FILE: config.Healthcheck.Retries: "),
        ({"config": {"Memory": 2**70}}, "FILE: config.Memory: "),
        ({"store_layers": [["/x"]]}, r"FILE: store_layers\[0\]\[0\]: '/x' is not a store path"),
        ({"store_paths": {"/x": {}}}, "FILE: store_paths./x: '/x' is not a store path"),
        ({"store_paths": {PATH: {"nar_hash": "x"}}}, "FILE: store_paths.*: 'x' is not a hash"),
        ({"closure": {"graph": "g"}, "store_layers": []}, "FILE: store_layers: not together"),
        ({"top_layer": "/t", "contents": ["/c"]}, "FILE: top_layer: not together"),
    ],
)
def test_other_errors_name_the_key(changes: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        parse({**LEAST, **changes})


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"5", b"\xff", b'"x"'])
def test_what_is_no_spec(data: bytes) -> None:
    with pytest.raises(SpecError, match="FILE: "):
        parse_spec(data, "FILE")


def test_the_schema_that_ships_is_the_one_in_force() -> None:
    shipped = json.loads(files("nixdock").joinpath("schema/image-spec-1.json").read_text())
    assert shipped == spec_schema(), (
        "write json.dumps(nixdock.spec.spec_schema(), indent=2) to nixdock/schema/image-spec-1.json"
    )


def test_graphs_count_from_the_specs_directory(tmp_path: Path) -> None:
    file = tmp_path / "spec.json"
    for graph, expected in (("g.json", str(tmp_path / "g.json")), ("/g.json", "/g.json")):
        file.write_text(json.dumps({**LEAST, "closure": {"graph": graph}}))
        spec = read_spec(file)
        assert spec.closure is not None
        assert spec.closure.graph == expected


def test_a_config_is_what_the_specification_defines() -> None:
    typed, unknown = checked_config(
        {
            "Cmd": "run",
            "Entrypoint": ["/e"],
            "Env": None,
            "Tty": True,
            "ExposedPorts": {"80/tcp": {}},
        },
        "FILE",
    )
    assert unknown == ["Tty"]
    assert container_config(typed) == {
        "Cmd": ["run"],
        "Entrypoint": ["/e"],
        "ExposedPorts": {"80/tcp": {}},
    }


def test_a_stream_configuration_is_a_spec() -> None:
    assert is_stream_conf(CONF)
    assert not is_stream_conf(FULL)
    assert not is_stream_conf([CONF])
    spec = parse_stream_conf(CONF, "FILE")
    assert (spec.name, spec.tag, spec.created) == ("name", "Tag", "now")
    assert spec.store_layers == [[PATH], []]
    assert (spec.store.uid, spec.store.gid, spec.store.uname) == (1000, 100, "u")
    assert spec.top_layer == "/nix/store/top"
    assert spec.variant is None
    assert parse_stream_conf({**CONF, "config": None, "more": 1}, "FILE").config == {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"from_image": "/x"}, "FILE: from_image: base images are not supported yet"),
        ({"uid": "x"}, "FILE: uid: "),
        ({"uid": "-1"}, "FILE: uid: "),
        ({"mtime": "x"}, "FILE: store.mtime: "),
        ({"repo_tag": "a b:c"}, "FILE: repo_tag: 'a b' is not an image name"),
        ({"store_layers": [["x"]]}, r"FILE: store_layers\[0\]\[0\]"),
        ({"architecture": None}, "FILE: architecture: "),
    ],
)
def test_errors_in_a_stream_configuration(changes: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        parse_stream_conf({**CONF, **changes}, "FILE")


def test_a_missing_key_of_a_stream_configuration_is_named() -> None:
    conf = {key: value for key, value in CONF.items() if key != "store_layers"}
    with pytest.raises(SpecError, match="missing required field `store_layers`"):
        parse_stream_conf(conf, "FILE")
