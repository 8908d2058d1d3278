import platform
import subprocess
import sys

import pytest

_COUNT_FAULTS = """
import resource, torch
from fastsep.machine.memory import keep_freed_memory
if {keep}:
    assert keep_freed_memory()
for _ in range(25):  # the heap grows to what alignment needs
    torch.empty(10_000_000).fill_(1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.empty(10_000_000).fill_(1)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_freed_tensors_are_reused_without_page_faults():
    faults = [
        int(subprocess.check_output([sys.executable, "-c", _COUNT_FAULTS.format(keep=keep)])) for keep in (False, True)
    ]
    assert faults[1] < faults[0] / 20
