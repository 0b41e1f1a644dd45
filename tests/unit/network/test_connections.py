from __future__ import annotations

import urllib3
from hypothesis import example, given
from hypothesis import strategies as st

from nixdock.network import connections
from nixdock.network.redirects import Origin

LABEL = r"[a-z0-9]([a-z0-9-]{0,6}[a-z0-9])?"
AUTHORITY = rf"{LABEL}(\.{LABEL}){{0,2}}(:[1-9][0-9]{{0,3}})?"


@given(
    st.from_regex(rf"https?://{AUTHORITY}", fullmatch=True),
    st.text("ab.~:@+=,-_/%?#;é", max_size=9),
)
@example("http://example.org", "v2/app/blobs/sha256:0a")
@example("http://example.org", "a/../b")
@example("http://example.org", "a/.../b")
def test_what_is_taken_for_plain_means_the_same_to_everybody(server: str, path: str) -> None:
    url = f"{server}/{path}"
    found = connections._PLAIN.fullmatch(url)
    parsed = urllib3.util.parse_url(url)
    if found is not None:
        assert found[1] == parsed.request_uri == f"/{path}"
        assert parsed.host == Origin.of(url).host


def test_names_of_files_and_digests_are_plain() -> None:
    for path in ("0a1b.narinfo", "nar/0a1b.nar.zst", "v2/my/app/manifests/sha256:0a", "v2/app/x_y"):
        found = connections._PLAIN.fullmatch(f"https://cache.example.org:8080/{path}")
        assert found is not None
        assert found[1] == f"/{path}"
