"""What an entry of a layout's index calls an image: its tag, and its full name."""

from __future__ import annotations

from collections.abc import Mapping

from nixdock.errors import ImageError, InputError
from nixdock.oci.digests import check_digest
from nixdock.oci.layout import CONTAINERD_NAME, REF_NAME
from nixdock.oci.reference import Reference, is_tag
from nixdock.oci.registry_reference import without_ipv6

__all__ = ["entry_name", "have_same_name", "is_full_name"]


def entry_name(annotations: Mapping[str, str]) -> str | None:
    """Return the name of an entry: containerd's full name, or else the tag, or None.

    Tools that know tags alone, such as umoci, give an image another tag and leave its full name as
    it was. The tag counts then, as it does for these tools, in the repository of the full name.
    """
    full, tag = annotations.get(CONTAINERD_NAME), annotations.get(REF_NAME)
    if not full or not tag or _agree(full, tag):
        return full or tag
    if ":" in tag or "/" in tag:
        return tag
    repository, colon, own = full.partition("@")[0].rpartition(":")
    return f"{repository}:{tag}" if colon and "/" not in own else f"{full.partition('@')[0]}:{tag}"


def have_same_name(annotations: Mapping[str, str], others: Mapping[str, str]) -> bool:
    """Tell whether two entries have the same tag or the same name.

    skopeo writes a name as it is given, such as `foo/bar:v1`, in place of the tag.
    """
    tag, name, other = annotations.get(REF_NAME), entry_name(annotations), entry_name(others)
    if name is None or other is None:
        return False
    if tag is not None and tag == others.get(REF_NAME):
        return True
    # A tag alone says nothing of a repository.
    return not (is_tag(name) or is_tag(other)) and _canonical(name) == _canonical(other)


def is_full_name(text: str) -> bool:
    """Tell whether a text is a full name, as containerd has them: NAME:TAG, NAME@DIGEST or both."""
    name, at, digest = text.partition("@")
    if at and ":" not in name.rpartition("/")[2]:
        name = f"{name}:latest"
    name = without_ipv6(name)
    try:
        if at:
            check_digest(digest)
        # `parse` also accepts upper case and a missing tag, so compare its result.
        return str(Reference.parse(name)) == name
    except (ImageError, InputError):
        return False


def _agree(full: str, tag: str) -> bool:
    """Tell whether a full name ends with a tag, or with the name and the tag.

    containerd exports an image that has a digest and no tag with @DIGEST as its tag.
    """
    tag = tag.removeprefix("@")
    if full == tag or (full.endswith(tag) and full[-len(tag) - 1] in ":@/"):
        return True
    return _canonical(tag) == full


def _canonical(name: str) -> str:
    try:
        return Reference.parse(name).canonical
    except InputError:
        return name
