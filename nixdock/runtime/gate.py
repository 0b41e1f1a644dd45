"""A gate before a registry that is shut before it ends, so that those who pull from it end, too."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from nixdock.runtime.replies import RefusedError, refuse

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["Gate"]


class Gate:
    """Lets all requests pass until it is shut. `close_all` closes the connections of the server."""

    def __init__(self) -> None:
        self.close_all: Callable[[], object] = lambda: None
        self._is_shut = threading.Event()

    def shut(self) -> None:
        """Break off all answers, and refuse requests from now on.

        Clients ask again when a connection is closed, but not when they are refused.
        """
        self._is_shut.set()
        self.close_all()

    def before(self, app: WSGIApplication) -> WSGIApplication:
        """Return an application that answers as `app` does until the gate is shut."""

        def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            if not self._is_shut.is_set():
                return app(environ, start_response)
            refused = RefusedError(403, "DENIED", "the registry has been interrupted")
            return refuse(refused, environ, start_response)

        return answer
