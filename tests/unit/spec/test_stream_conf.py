"""Stream configurations of dockerTools: the equivalent specs, and the key that errors name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nixdock.errors import SpecError
from nixdock.spec.image_spec import ImageSpec, StoreSpec
from nixdock.spec.reading import read_spec
from nixdock.spec.stream_conf import is_stream_conf, parse_stream_conf

ONE, TWO = (f"/nix/store/{digit * 32}-x" for digit in "01")
CONF: dict[str, Any] = {
    "architecture": "arm64",
    "config": {"Cmd": ["x"], "Env": ["A=1"]},
    "os": "linux",
    "variant": "v8",
    "store_dir": "/nix/store",
    "from_image": None,
    "store_layers": [[ONE], [TWO]],
    "customisation_layer": "/nix/store/top",
    "repo_tag": "Name:Tag",
    "created": "2020-01-01T00:00:00+01:00",
    "mtime": "1970-01-01T00:00:01+00:00",
    "uid": "1000",
    "gid": "100",
    "uname": "user",
    "gname": "group",
}
NEEDED = ("architecture", "customisation_layer", "repo_tag", "store_layers")


def parse(**changes: object) -> ImageSpec:
    return parse_stream_conf({**CONF, **changes}, "FILE")


def test_every_key_is_converted() -> None:
    assert parse() == ImageSpec(
        version=1,
        name="name",
        tag="Tag",
        architecture="arm64",
        variant="v8",
        created="2020-01-01T00:00:00+01:00",
        config={"Cmd": ["x"], "Env": ["A=1"]},
        store_layers=[[ONE], [TWO]],
        store=StoreSpec(
            directory="/nix/store",
            mtime="1970-01-01T00:00:01+00:00",
            uid=1000,
            gid=100,
            uname="user",
            gname="group",
        ),
        top_layer="/nix/store/top",
    )


def test_keys_that_may_be_left_out() -> None:
    spec = parse_stream_conf({key: CONF[key] for key in NEEDED}, "FILE")
    assert spec == parse(
        config=None,
        variant=None,
        created="1970-01-01T00:00:01Z",
        mtime="1970-01-01T00:00:01Z",
        uid="0",
        gid="0",
        uname="root",
        gname="root",
    )


@pytest.mark.parametrize("key", NEEDED)
def test_a_missing_key_is_named(key: str) -> None:
    conf = {name: value for name, value in CONF.items() if name != key}
    with pytest.raises(SpecError, match=f"FILE: .*missing required field `{key}`"):
        parse_stream_conf(conf, "FILE")


def test_unknown_keys_are_ignored() -> None:
    assert parse(added_later={"a": 1}) == parse()


def test_ids_are_numbers_or_their_text() -> None:
    for uid, gid in (("7", "0"), (7, 0)):
        spec = parse(uid=uid, gid=gid)
        assert (spec.store.uid, spec.store.gid) == (7, 0)


def test_no_config_and_no_variant() -> None:
    assert parse(config=None).config == {}
    assert parse(variant="").variant is None
    assert parse(variant=None).variant is None


def test_now_is_kept() -> None:
    """The time is that of the build, not that at which the spec is read."""
    spec = parse(created="now", mtime="now")
    assert (spec.created, spec.store.mtime) == ("now", "now")


def test_layers_keep_their_order_even_when_empty() -> None:
    assert parse(store_layers=[[TWO, ONE], []]).store_layers == [[TWO, ONE], []]
    assert parse(store_layers=[]).store_layers == []


def test_a_name_with_a_registry() -> None:
    spec = parse(repo_tag="localhost:5000/A/b:V1")
    assert (spec.name, spec.tag) == ("localhost:5000/a/b", "V1")
    assert parse(repo_tag="localhost:5000/a").tag == "latest"


def test_another_store() -> None:
    path = ONE.replace("/nix/store", "/gnu/store")
    spec = parse(store_dir="/gnu/store", store_layers=[[path]])
    assert (spec.store.directory, spec.store_layers) == ("/gnu/store", [[path]])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"from_image": 5}, "FILE: from_image: "),
        ({"repo_tag": "a b:c"}, "FILE: repo_tag: 'a b' is not an image name"),
        ({"repo_tag": "a:"}, "FILE: repo_tag: '' is not a tag"),
        ({"repo_tag": None}, "FILE: repo_tag: "),
        ({"architecture": None}, "FILE: architecture: "),
        ({"customisation_layer": None}, "FILE: customisation_layer: "),
        ({"config": []}, "FILE: config: "),
        ({"config": {"Env": "A=1"}}, "FILE: config.Env: "),
        ({"config": {"Memory": "5"}}, "FILE: config.Memory: "),
        ({"store_layers": ONE}, "FILE: store_layers: "),
        ({"store_layers": [[ONE, 5]]}, r"FILE: store_layers\[0\]\[1\]: "),
        ({"store_layers": [[], ["x"]]}, r"FILE: store_layers\[1\]\[0\]: 'x' is not a store path"),
        (
            {"store_dir": "/gnu/store"},
            r"FILE: store_layers\[0\]\[0\]: .* is not in the store",
        ),
        ({"created": "soon"}, "FILE: created: 'soon' is not a time"),
        ({"created": ""}, "FILE: created: '' is not a time"),
        ({"created": None}, "FILE: created: "),
        ({"mtime": "soon"}, "FILE: store.mtime: 'soon' is not a time"),
        ({"uid": "root"}, "FILE: uid: "),
        ({"uid": "-1"}, "FILE: uid: "),
        ({"uid": "1.5"}, "FILE: uid: "),
        ({"uid": True}, "FILE: uid: "),
        ({"gid": "4294967295"}, "FILE: gid: "),
        ({"gid": "9" * 5000}, "FILE: gid: "),
        ({"uname": 5}, "FILE: uname: "),
        ({"gname": None}, "FILE: gname: "),
    ],
)
def test_errors_name_the_key(changes: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        parse(**changes)
    assert caught.value.path == "FILE"
    assert str(caught.value).startswith(f"FILE: {caught.value.key}: ")


def test_recognising_a_stream_configuration() -> None:
    assert is_stream_conf(CONF)
    assert is_stream_conf({"repo_tag": None})
    assert not is_stream_conf({"version": 1, "name": "x"})
    assert not is_stream_conf({**CONF, "version": 1})
    others: tuple[object, ...] = ([CONF], "repo_tag", 5, None)
    for other in others:
        assert not is_stream_conf(other)


def test_a_file_is_recognised_by_its_keys(tmp_path: Path) -> None:
    file = tmp_path / "conf.json"
    file.write_text(json.dumps(CONF))
    assert read_spec(file) == parse()
    file.write_text(json.dumps({**CONF, "uid": "x"}))
    with pytest.raises(SpecError, match=f"{file}: uid: "):
        read_spec(file)
