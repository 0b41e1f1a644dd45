"""The outputs in derivation files."""

from __future__ import annotations

from pathlib import Path

import pytest

from nixdock.errors import StoreError
from nixdock.nix.derivation import outputs_of_derivation, parse_outputs


@pytest.mark.parametrize(
    ("text", "outputs"),
    [
        ('Derive([("out","/s/o","","")],[],[],"x","b",[],[])', {"out": "/s/o"}),
        (
            'Derive([("dev","/s/d","",""),("out","/s/o","r:sha256","00")],[("/s/i",["out"])])',
            {"dev": "/s/d", "out": "/s/o"},
        ),
        ('Derive([("out","","r:sha256","")],[],', {}),
        ('Derive([("bin","/s/b","",""),("out","","","")],', {"bin": "/s/b"}),
    ],
)
def test_outputs(tmp_path: Path, text: str, outputs: dict[str, str]) -> None:
    file = tmp_path / "x.drv"
    file.write_text(text)
    assert outputs_of_derivation(file) == outputs


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "Derive([",
        'Derive([("out","/s/o")])',
        "Derive([])",
        'Derive([("out","/s/o","","")',
        'Derive([("out","/s/o","",""),]',
        'Derive([("out","/s/o","",""),("dev","/s/d"',
        'Derive([("out","/s/o","","");("dev","/s/d","","")]',
        'Derive([("a\\"b","/s/o","","")]',
        ' Derive([("out","/s/o","","")]',
    ],
)
def test_malformed_derivations(tmp_path: Path, text: str) -> None:
    file = tmp_path / "x.drv"
    file.write_text(text)
    with pytest.raises(StoreError, match="is not a derivation") as caught:
        outputs_of_derivation(file)
    assert caught.value.path == str(file)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="can't read the derivation"):
        outputs_of_derivation(tmp_path / "none.drv")


def test_a_file_that_is_not_utf_8(tmp_path: Path) -> None:
    file = tmp_path / "x.drv"
    data = b'Derive([("out","/s/o","","")],[],[],"x","b",[],[("v","caf\xe9")])'
    file.write_bytes(data)
    assert outputs_of_derivation(file) == parse_outputs(data, "x") == {"out": "/s/o"}
    file.write_bytes(b"Derive\xff")
    with pytest.raises(StoreError, match=f"{file} is not a derivation"):
        outputs_of_derivation(file)
