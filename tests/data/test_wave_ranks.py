"""Several processes simulate one file."""

import pytest
from rank_cases import make_waves
from ranks import run_ranks

from fastsep.data.wave.files import WaveSettings


@pytest.mark.slow
def test_processes_write_the_file_that_one_writes(tmp_path):
    settings = WaveSettings(size=5, frames=12, grid=16)
    alone = make_waves(tmp_path / "one", settings)
    paths = run_ranks(3, make_waves, tmp_path / "three", settings)
    assert set(paths) == {tmp_path / "three" / "wave.h5"}
    assert paths[0].read_bytes() == alone.read_bytes()
