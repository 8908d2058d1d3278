"""Packages that only some data sets and outputs need."""

from __future__ import annotations

import importlib
from types import ModuleType

from fastsep.errors import UserError

_PACKAGES = {"sklearn": "scikit-learn"}


def optional(module: str, purpose: str, extra: str = "data") -> ModuleType:
    """Import ``module``, which the extra ``extra`` of this package brings.

    Raises:
        UserError: it is not installed; the message says what for and how to get it.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        package = module.split(".")[0]
        package = _PACKAGES.get(package, package)
        raise UserError(
            f"{purpose} needs {package}, which is not installed: pip install {package}, or all of the extra {extra} "
            f"with pip install -e '.[{extra}]' in fastsep's checkout"
        ) from None
