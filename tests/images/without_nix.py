"""A machine like this one, but without Nix and its store."""

from __future__ import annotations

from typing import Final

__all__ = ["HIDE"]

# A machine without /nix: everything else of this one is mounted below a new root.
_WITHOUT_NIX: Final = """
set -e
mount -t tmpfs none /mnt
for each in /*; do
  case $each in
    /nix | /mnt) ;;
    *) if [ -L "$each" ]; then cp -P "$each" /mnt
       elif [ -d "$each" ]; then mkdir "/mnt$each" && mount --rbind "$each" "/mnt$each"
       fi ;;
  esac
done
cd /mnt
pivot_root . .
umount -l .
[ ! -e /nix ]
"""
HIDE: Final = (
    *("/usr/bin/unshare", "--map-root-user", "--mount", "/bin/sh", "-c"),
    *(f'PATH=/usr/sbin:/usr/bin:/sbin:/bin; {_WITHOUT_NIX}\nPATH=$1; shift; exec "$@"', "-"),
)
"""The beginning of a command that runs without /nix: its PATH and the command follow."""
