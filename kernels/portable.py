"""Programs that must run without this package, and on any machine: ops then stand in them as plain PyTorch."""

from __future__ import annotations

import torch

from kernels.constant import constant_result


@constant_result
def exporting() -> bool:
    """Whether a program is being exported.

    The compiler takes the answer for a constant and asks for it while it compiles. PyTorch's own function cannot be
    called in what is compiled: there 2.11 says yes, whether exported or not.
    """
    return torch.compiler.is_exporting()
