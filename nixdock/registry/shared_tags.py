"""Tags of lists to which several clients add at the same time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from nixdock.errors import RegistryError
from nixdock.oci.descriptor import Blob
from nixdock.registry.manifests import is_blob_unknown, put_manifest
from nixdock.registry.repository import Repository

__all__ = ["SharedList", "add_to_tag", "lacks_something"]

# How often a list is written if others write it at the same time.
_MOST_WRITES: Final = 10
# The number of the attempt after which waits get no longer.
_LONGEST_WAIT: Final = 3


class SharedList(Protocol):
    """A list as it was read, to which something is to be added."""

    @property
    def is_complete(self) -> bool:
        """Whether it has that already."""

    def extended(self, refusal: RegistryError | None) -> Blob | None:
        """Return the list with what is missing, or None if it can't have that now.

        `refusal` is why the one that was sent before was refused, if it was.
        """


def add_to_tag(
    repository: Repository,
    tag: str,
    read: Callable[[], SharedList],
    lasting_failure: Callable[[str], RegistryError],
) -> int | None:
    """Write the list that a tag stands for until it is complete; return the bytes that were sent.

    Return None if it was complete before. A registry can't be told to replace a list only if it is
    still the same. So another client that has read the list before this one wrote it may write it
    afterwards, without what was added. That is looked for again after a while, in which whoever has
    read the list will have written it, and added anew if it is missing.

    Raise RegistryError if the registry refuses or fails as often as any request may, or what
    `lasting_failure` makes of the message if others write the same list again and again.
    """
    sent = 0
    failure: RegistryError | None = None
    patience = repository.transport.patience()
    for attempt in range(1, _MOST_WRITES + 1):
        found = read()
        if found.is_complete:
            return sent if attempt > 1 else None
        index = found.extended(failure)
        if index is not None:
            try:
                # It is not sent again as it is: others may have written the list meanwhile.
                put_manifest(repository, tag, index, retry=False)
                sent += len(index.data)
                failure = None
            except RegistryError as error:
                if not (error.is_broken or lacks_something(error)):
                    raise
                failure = error
                if error.is_broken:
                    if patience.lasts(error.after):
                        continue
                    # It may have arrived, and only the answer that says so has not.
                    break
        repository.transport.wait(min(attempt, _LONGEST_WAIT))
    if read().is_complete:
        return sent
    raise failure or lasting_failure(
        f"after {_MOST_WRITES} attempts to add it: others write it at the same time, or the"
        " registry does not keep it; try again later"
    )


def lacks_something(error: RegistryError) -> bool:
    """Tell whether a registry refused a list because it lacks, or can't find, a manifest of it."""
    return is_blob_unknown(error) or "MANIFEST_UNKNOWN" in error.codes
