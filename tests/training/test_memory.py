"""Freed memory stays in the process: a block taken again costs no new pages."""
from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys
import numpy as np
from polysemy.memory import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
def use():
    np.empty(1 << 26, np.uint8).fill(1)
use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(way: str) -> int:
    found = subprocess.run([sys.executable, "-c", SCRIPT, way], capture_output=True, text=True, check=True)
    return int(found.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="speaks to GNU's allocator")
def test_blocks_are_used_again_without_new_pages():
    """64 MB five times is 81,920 pages of 4 KB, or 160 of 2 MB."""
    assert page_faults("keep") < 100 < page_faults("leave")


GIVE_BACK = """
import os
from polysemy.memory import give_back_memory
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
blocks = [bytearray(b"x" * 60_000) for _ in range(1000)]  # so small that the allocator cuts them from its heap
last = blocks[-1]
del blocks
before = resident()
assert give_back_memory()
print(before - resident())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="speaks to GNU's allocator")
def test_free_memory_below_what_is_in_use_is_given_back():
    found = subprocess.run([sys.executable, "-c", GIVE_BACK], capture_output=True, text=True, check=True)
    assert int(found.stdout) > 40e6
