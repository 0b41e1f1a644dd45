"""Opening stores by their URLs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from msgspec import Struct

from nixdock.nix.configuration import nix_settings
from nixdock.nix.signatures import TrustedKeys
from nixdock.nix.store_path import DEFAULT_STORE_DIR
from nixdock.stores.answer_cache import AnswerCache
from nixdock.stores.binary_cache import BinaryCache
from nixdock.stores.cache_files import CacheFiles, DirectoryFiles
from nixdock.stores.cache_url import CacheUrl
from nixdock.stores.http_files import HttpFiles
from nixdock.stores.local import LocalStore
from nixdock.stores.several import Stores
from nixdock.system.cache_directory import cache_directory
from nixdock.system.freed_memory import keep_freed_memory

if TYPE_CHECKING:
    from nixdock.network.subject import Settings

__all__ = ["StoreChoice", "open_stores"]


class StoreChoice(Struct, frozen=True):
    """Which stores to read from, besides the local one, and whom to trust.

    `urls` are those of binary caches. `trusted_public_keys`, NAME:BASE64, are trusted besides those
    of Nix's configuration; without `check_signatures`, everybody is trusted. So it is where Nix's
    configuration requires no signatures, unless keys are given here.
    """

    urls: tuple[str, ...] = ()
    trusted_public_keys: tuple[str, ...] = ()
    check_signatures: bool = True


def open_stores(
    choice: StoreChoice,
    settings: Settings,
    environment: Mapping[str, str],
    local: LocalStore | None = None,
    store_dir: str = DEFAULT_STORE_DIR,
) -> Stores:
    """Return the local store and the caches of `choice`; nothing is asked of them yet.

    Raise InputError if a URL, a key or Nix's configuration is not valid.
    """
    # NARs come in large pieces.
    keep_freed_memory()
    nix = nix_settings(environment)
    keys = None
    is_required = nix.require_signatures or bool(choice.trusted_public_keys)
    if choice.check_signatures and is_required:
        keys = TrustedKeys.parse([*nix.trusted_public_keys, *choice.trusted_public_keys])
    answers = AnswerCache(cache_directory(environment))

    def files(url: CacheUrl) -> CacheFiles:
        if url.directory is not None:
            return DirectoryFiles(str(url), url.directory)
        return HttpFiles(str(url), settings, nix.netrc_file)

    urls = dict.fromkeys(map(CacheUrl.parse, choice.urls))
    caches = [BinaryCache(url, files(url), keys, answers, store_dir) for url in urls]
    return Stores(local or LocalStore(), caches)
