"""The root directory of a confined script that runs in a directory, without a root of its own.

It is like that in Nix's sandbox: the store, the system's programs and libraries, a few files in
/etc, and an empty /tmp. The directory is /build.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from nixdock.errors import ScriptError
from nixdock.rootfs.obstacles import make_directory, make_top_directory
from nixdock.rootfs.rootless.chroot import Mount, Mounts
from nixdock.rootfs.rootless.enter import INSIDE
from nixdock.rootfs.store_view import StoreView

__all__ = [
    "BUILD_DIRECTORY",
    "USER",
    "inner_environment",
    "inner_shell",
    "read_only_stores",
    "script_root",
]

BUILD_DIRECTORY: Final = "/build"

USER: Final = (1000, 100)
"""The user and group of a script that does not run as root, as in Nix's sandbox."""

_STORE: Final = "/nix/store"
_SYSTEM: Final = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
# Symlinks in /usr lead to the first, and the dynamic linker reads the others.
_SETTINGS: Final = (
    *("/etc/alternatives", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d"),
    *(f"/etc/ld-musl-{machine}.path" for machine in ("x86_64", "aarch64")),
)
_FILES: Final = {
    "/etc/passwd": (
        "root:x:0:0:root:/homeless-shelter:/noshell\n"
        "nixbld:x:1000:100:Nix build user:/homeless-shelter:/noshell\n"
        "nobody:x:65534:65534:Nobody:/:/noshell\n"
    ),
    "/etc/group": "root:x:0:\nnixbld:!:100:\nnogroup:x:65534:\n",
    "/etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
}
# What a script finds of the caller's environment, as far as it decides what the script makes.
_PASSED_ON: Final = ("SOURCE_DATE_EPOCH", "NIX_BUILD_CORES")


def script_root(
    script: str,
    directory: Path,
    store_dir: str,
    view: StoreView | None = None,
    *,
    work: Path,
    space: Path,
) -> Mounts:
    """Make a root in the new directory `space` for a script in `directory`; return its mounts.

    `script` is the script's key in the spec, and `work` the directory for `INSIDE`. With a `view`,
    the store is what that says.
    """
    root, temporary = space / "root", space / "tmp"
    make_directory(root)
    # What scripts make in it and move to the image must not get other modes either.
    make_top_directory(temporary)
    mounts = Mounts(script, root, store_dir)
    for path in ("/dev", "/proc"):
        mounts.make_directory(path)
    for path in _SYSTEM:
        if Path(path).is_symlink():
            (root / path[1:]).symlink_to(os.readlink(path))
        else:
            mounts.add(path, path, read_only=True)
    for path in _SETTINGS:
        mounts.add(path, path, read_only=True)
    for path, text in _FILES.items():
        mounts.make_directory(os.path.dirname(path))  # noqa: PTH120 (a path in the root)
        (root / path[1:]).write_text(text, encoding="ascii")
    mounts.add(str(temporary), "/tmp")
    for store in sorted({store_dir, _STORE}):
        if view is not None and store == store_dir:
            # This mount is not read-only, or the kernel would not note what is used.
            joined = Mounts(script, space / "store", store_dir, view)
            make_directory(joined.root)
            joined.add_store()
            mounts.add(f"{joined.root}{store}", store, recursive=False)
            mounts.mounts += joined.mounts
        else:
            mounts.add(store, store, read_only=True)
        if store.startswith("/tmp/"):
            # This mount point must be in what is mounted there.
            (temporary / store.removeprefix("/tmp/")).mkdir(parents=True)
    mounts.add(str(work), INSIDE, recursive=False, read_only=True)
    mounts.add(str(directory), BUILD_DIRECTORY)
    return mounts


def read_only_stores(store_dir: str) -> list[Mount]:
    """Return mounts of this machine's stores where they are, for a script without another root."""
    stores = {os.path.realpath(store) for store in (store_dir, _STORE) if Path(store).is_dir()}
    return [Mount(store, store, read_only=True) for store in sorted(stores)]


def inner_environment(
    store_dir: str, outer: Mapping[str, str], *, own_root: bool
) -> dict[str, str]:
    """Return the environment of a confined script: nothing that is secret, and no settings.

    PATH has the directories of the PATH in `outer` that the script can see; if it has its
    `own_root`, these are only those in the store.
    """
    visible = (store_dir,) if own_root else (store_dir, _STORE, *_SYSTEM)
    found = (_visible_path(path, visible) for path in outer.get("PATH", "").split(os.pathsep))
    path = dict.fromkeys(filter(None, found))
    temporary = dict.fromkeys(("TMPDIR", "TMP", "TEMP", "TEMPDIR"), "/tmp")
    return {
        **{name: outer[name] for name in _PASSED_ON if name in outer},
        **temporary,
        "PATH": os.pathsep.join(path),
        "HOME": "/homeless-shelter",
        "NIX_STORE": store_dir,
        "TZ": "UTC",
    }


def _visible_path(path: str, visible: Sequence[str]) -> str:
    """Return the path that a directory has below one of the directories `visible`, if any.

    What leads to it, such as a profile's symlink, or a symlink to the store, is not visible.
    """
    real_path = os.path.realpath(path) if path else ""
    for directory in visible:
        real_directory = os.path.realpath(directory)
        if f"{real_path}/".startswith(f"{real_directory}/"):
            return directory + real_path.removeprefix(real_directory)
    return ""


def inner_shell(script: str, environment: Mapping[str, str]) -> str:
    """Return the shell for a confined script with `environment`; raise ScriptError if it has none.

    `script` is the script's key in the spec.
    """
    path = environment["PATH"]
    shell = shutil.which("bash", path=path) or shutil.which("sh", path=path)
    if shell is None:
        raise ScriptError(
            f"{script} needs a shell, but neither bash nor sh is in a directory of PATH that"
            " scripts see; install one in the store or in /usr/bin",
            key=script,
        )
    return shell
