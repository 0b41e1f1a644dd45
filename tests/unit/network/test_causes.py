"""What libraries and the system raise, and whether it may pass."""

from __future__ import annotations

import pytest
from urllib3.exceptions import ProxyError

from nixdock.network.causes import Route, cause_of
from nixdock.network.redirects import Origin

ROUTE = Route(Origin.of("https://r.example"), 60.0, "http://me:secret@p.example:8080")


@pytest.mark.parametrize(
    ("error", "passing"),
    [
        (TimeoutError(110, "Connection timed out"), True),
        (ConnectionResetError(104, "Connection reset by peer"), True),
        (ConnectionRefusedError(111, "Connection refused"), False),
        (OSError(101, "Network is unreachable"), False),
        (OSError("Tunnel connection failed: 503 Service Unavailable"), True),
        (OSError("Tunnel connection failed: 407 Proxy Authentication Required"), False),
    ],
)
def test_what_of_a_proxy_may_pass(error: OSError, passing: bool) -> None:
    cause = cause_of(ProxyError("Unable to connect to proxy", error), ROUTE)
    assert (cause.kind, cause.passing) == ("proxy", passing)
    assert cause.text.startswith("the proxy http://p.example:8080 can't be used")
