"""Buffers that are freed are used again."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

# Prints how many pages the kernel has given out for buffers of which one at a time is in use.
PROGRAM = """
import resource
from nixdock.system.freed_memory import keep_freed_memory
keep_freed_memory()
def pages():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def use():
    data = b"x" * (1 << 20)
    other = b"y" * (1 << 20)
use()
before = pages()
for _ in range(20):
    use()
print(pages() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left alone")
def test_memory_of_freed_buffers_is_used_again() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True)
    # All of them would take ten thousand pages of 4 KiB.
    assert int(done.stdout) < 1000
