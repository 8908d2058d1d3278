"""What ranks must agree on before they train together."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from fastsep.config import Config
from fastsep.data.wave.settings import Wave100
from fastsep.errors import UserError
from fastsep.training.agreement import same_data
from fastsep.world import World


class Streaming(World):
    """Two ranks, one of which has memory for the data."""

    def gather(self, value):
        return [value, not value] if isinstance(value, bool) else [value, value]


@pytest.mark.parametrize(("streamed", "fits", "lacks"), [(False, 0, 1), (True, 1, 0)])
def test_data_must_fit_the_memory_of_all_ranks_or_of_none(streamed, fits, lacks):
    class Windows(SimpleNamespace):
        def __len__(self):
            return 3

    with pytest.raises(UserError, match=f"fits the memory of rank {fits} and not that of rank {lacks}"):
        same_data(Streaming(), Config(data=Wave100()), Windows(streamed=streamed))
