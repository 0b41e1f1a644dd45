"""A policy: what an image may weigh, and what may not be in it."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Final

from msgspec import Struct
from msgspec.structs import fields

__all__ = ["Policy", "Rule"]


class Rule(StrEnum):
    """A rule of a policy, by the name of the option that sets it."""

    MAX_SIZE = "max-size"
    MAX_UNCOMPRESSED = "max-uncompressed"
    MAX_LAYERS = "max-layers"
    MAX_LAYER = "max-layer"
    MAX_UPDATE = "max-update"
    DENY_LICENSE = "deny-license"
    DENY_UNKNOWN_LICENSE = "deny-unknown-license"
    DENY_PATH = "deny-path"
    DENY_SETUID = "deny-setuid"
    DENY_WORLD_WRITABLE = "deny-world-writable"

    @property
    def description(self) -> str:
        """What the rule asks for, in a sentence."""
        return _DESCRIPTIONS[self]


_DESCRIPTIONS: Final = {
    Rule.MAX_SIZE: "The layers, the config and the manifest are not larger than allowed.",
    Rule.MAX_UNCOMPRESSED: "The uncompressed layers are not larger than allowed.",
    Rule.MAX_LAYERS: "The image does not have more layers than allowed.",
    Rule.MAX_LAYER: "No layer is larger than allowed.",
    Rule.MAX_UPDATE: "An update does not transfer more than allowed.",
    Rule.DENY_LICENSE: "No package has a denied licence.",
    Rule.DENY_UNKNOWN_LICENSE: "The licence of every package is known.",
    Rule.DENY_PATH: "No file has a denied path.",
    Rule.DENY_SETUID: "No file gives its rights to whoever runs it.",
    Rule.DENY_WORLD_WRITABLE: "Nobody can write to the files of others.",
}


class Policy(Struct, frozen=True):
    """The rules that an image must keep to; those that are None, empty or False do not apply.

    Sizes are in bytes. `max_size` is the limit for what a registry stores of the image, each blob
    once, `max_layer` that for a layer there, and `max_uncompressed` that for the tars of all
    layers. `max_update` limits what a registry transfers for an update from another image.

    `denied_licenses` are SPDX identifiers or other names, whatever their case, with the wildcards
    of the shell. `denied_paths` are regular expressions that match a part of the path of a file or
    directory. `allowed_setuid` are regular expressions that match the whole path of a file that
    `deny_setuid` would deny: one with a set-user-ID or set-group-ID bit, or with capabilities.
    """

    max_size: int | None = None
    max_uncompressed: int | None = None
    max_layers: int | None = None
    max_layer: int | None = None
    max_update: int | None = None
    denied_licenses: tuple[str, ...] = ()
    deny_unknown_licenses: bool = False
    denied_paths: tuple[str, ...] = ()
    deny_setuid: bool = False
    allowed_setuid: tuple[str, ...] = ()
    deny_world_writable: bool = False

    def rules(self) -> Iterator[Rule]:
        """Yield the rules that apply, in a fixed order."""
        names = (each.name for each in fields(self) if each.name != "allowed_setuid")
        for rule, name in zip(Rule, names, strict=True):
            value = getattr(self, name)
            # A limit may be 0.
            if value is not None and value is not False and value != ():
                yield rule
