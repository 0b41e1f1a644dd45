"""Converting the JSON configuration of dockerTools' stream script to an image spec."""

from __future__ import annotations

from typing import Any

import msgspec

from nixdock.nix.store_path import DEFAULT_STORE_DIR
from nixdock.oci.reference import Reference
from nixdock.spec.checks import check_spec
from nixdock.spec.image_spec import FromImageSpec, Id, ImageSpec, StoreSpec
from nixdock.spec.problem import errors_at_key, type_error
from nixdock.system.typed import MisfitError, convert

__all__ = ["is_stream_conf", "parse_stream_conf"]


class StreamConf(msgspec.Struct, frozen=True, kw_only=True):
    """The keys of dockerTools' configuration; its ids may be strings of digits."""

    repo_tag: str
    architecture: str
    customisation_layer: str
    store_layers: list[list[str]]
    config: dict[str, Any] | None = None
    store_dir: str = DEFAULT_STORE_DIR
    os: str = "linux"
    variant: str | None = None
    from_image: str | None = None
    created: str = "1970-01-01T00:00:01Z"
    mtime: str = "1970-01-01T00:00:01Z"
    uid: Id = 0
    gid: Id = 0
    uname: str = "root"
    gname: str = "root"


def is_stream_conf(document: object) -> bool:
    """Return whether `document` is such a configuration rather than an image spec."""
    return isinstance(document, dict) and "repo_tag" in document and "version" not in document


def parse_stream_conf(document: dict[str, Any], origin: str) -> ImageSpec:
    """Return the spec that is equivalent to `document`; raise SpecError if it is not valid."""
    try:
        conf = convert(document, StreamConf, strict=False)
    except MisfitError as error:
        raise type_error(error, origin) from None
    with errors_at_key("repo_tag", origin):
        reference = Reference.parse(conf.repo_tag)
    spec = ImageSpec(
        version=1,
        name=reference.repository,
        tag=reference.tag,
        architecture=conf.architecture,
        variant=conf.variant or None,
        created=conf.created,
        config=conf.config or {},
        store_layers=conf.store_layers,
        store=StoreSpec(
            directory=conf.store_dir,
            mtime=conf.mtime,
            uid=conf.uid,
            gid=conf.gid,
            uname=conf.uname,
            gname=conf.gname,
        ),
        top_layer=conf.customisation_layer,
        from_image=None if conf.from_image is None else FromImageSpec(conf.from_image),
    )
    check_spec(spec, origin)
    return spec
