"""Packages that only some data sets and outputs need."""

from __future__ import annotations

import importlib
from types import ModuleType

from fastsep.errors import UserError


def optional(module: str, purpose: str, extra: str = "data") -> ModuleType:
    """Import ``module``, which the extra ``extra`` of this package brings.

    Raises:
        UserError: it is not installed; the message says what for and how to get it.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        package = module.split(".")[0].replace("sklearn", "scikit-learn")
        raise UserError(f"{purpose} needs {package}, which is not installed: pip install 'fastsep[{extra}]'") from None
