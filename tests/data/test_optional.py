from __future__ import annotations

import pytest

from fastsep.data.formats.optional import optional
from fastsep.errors import UserError


def test_what_is_installed_is_imported():
    assert optional("json.decoder", "a test").JSONDecoder


@pytest.mark.parametrize(
    ("module", "package"), [("nowhere.io", "nowhere"), ("sklearn.nothing", "scikit-learn"), ("nowhere", "nowhere")]
)
def test_what_is_not_is_named_as_it_is_installed(module, package):
    with pytest.raises(UserError, match=rf"^a test needs {package}, which is not installed: pip install"):
        optional(module, "a test")
