"""Answers that compiled code takes for constants."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

_Function = TypeVar("_Function", bound=Callable)


def constant_result(function: _Function) -> _Function:
    """Have ``torch.compile`` call ``function`` while it compiles, and keep what it returned.

    The mark that ``torch.compiler.assume_constant_result`` makes, which imports the whole compiler to make it: that
    takes as long as importing PyTorch, whether anything is compiled or not.
    """
    function._dynamo_marked_constant = True
    return function
