"""Reading the files of a layer in the background, while the keys keep working."""

from __future__ import annotations

from threading import Thread
from typing import TYPE_CHECKING

from textual.message import Message

from nixdock.browse.directories import Node, directory_tree
from nixdock.errors import NixdockError
from nixdock.system.text import shown

if TYPE_CHECKING:
    from textual.message_pump import MessagePump

    from nixdock.browse.levels import FileTarget
    from nixdock.browse.listing import Listing

__all__ = ["FilesRead", "read_later"]

_LONGEST_ERROR = 1000


class FilesRead(Message):
    """The files of the layer of `target` have been read, for a list; `result` may be an error."""

    def __init__(self, listing: Listing, target: FileTarget, result: Node | str) -> None:
        super().__init__()
        self.listing = listing
        self.target = target
        self.result = result


def read_later(listing: Listing, target: FileTarget, receiver: MessagePump) -> None:
    """Read the layer of `target`, and post FilesRead to `receiver`.

    Whoever ends the program does not wait for it.
    """

    def read() -> None:
        result: Node | str
        try:
            result = directory_tree(listing.side.read_files(target.layer))
        except (NixdockError, OSError) as error:
            result = f"error: {shown(str(error), _LONGEST_ERROR)}"
        receiver.post_message(FilesRead(listing, target, result))

    Thread(target=read, name="files", daemon=True).start()
