"""The memory allocator's settings, which must be there before the process starts."""

from __future__ import annotations

import os
import sys

_ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "4294967296", "MALLOC_TRIM_THRESHOLD_": "8589934592"}


def with_large_allocations() -> None:
    """Start this program again with an allocator that keeps large blocks.

    By default glibc gives each large tensor back to the kernel and asks for it anew: on CPU the page faults are 40 %
    of the time. Does nothing where the variables are set already or the system is not Linux.
    """
    if not sys.platform.startswith("linux") or all(name in os.environ for name in _ALLOCATOR):
        return
    os.execve(sys.executable, [sys.executable, *sys.argv], {**_ALLOCATOR, **os.environ})
