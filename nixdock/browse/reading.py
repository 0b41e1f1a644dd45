"""Reading the files of a layer in the background, while the keys keep working."""

from __future__ import annotations

from threading import Thread
from typing import TYPE_CHECKING

from textual.message import Message

from nixdock.errors import NixdockError
from nixdock.system.text import shown
from nixdock.view.file_tree import FileNode, ImpliedDirectories, file_tree

if TYPE_CHECKING:
    from textual.message_pump import MessagePump

    from nixdock.browse.side import ReadFiles

__all__ = ["FilesRead", "read_later"]

_LONGEST_ERROR = 1000


class FilesRead(Message):
    """The files of a layer have been read; `result` may be the text of an error."""

    def __init__(self, layer: int, result: FileNode | str) -> None:
        super().__init__()
        self.layer = layer
        self.result = result


def read_later(read_files: ReadFiles, layer: int, receiver: MessagePump) -> None:
    """Read the files of the layer with this number, and post FilesRead to `receiver`.

    Whoever ends the program does not wait for it.
    """

    def read() -> None:
        result: FileNode | str
        try:
            result = file_tree(read_files(layer), ImpliedDirectories(layer))
        except NixdockError as error:
            result = f"error: {shown(str(error), _LONGEST_ERROR)}"
        except Exception as error:
            # Nobody else would see it: a thread ends silently.
            result = f"error: {type(error).__name__}: {shown(str(error), _LONGEST_ERROR)}"
        receiver.post_message(FilesRead(layer, result))

    Thread(target=read, name="files", daemon=True).start()
