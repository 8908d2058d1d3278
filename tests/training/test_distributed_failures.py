"""What becomes of the others when one of several processes fails, and of the user, who is told once and why."""

import re
import socket
import threading
import time
from dataclasses import replace

import pytest
import torch
from rank_cases import (
    fail,
    fits_while_others_hold,
    make_other_waves,
    start_differently,
    start_on_another_machine,
    wait_for_the_later_of_two,
    wave100,
)
from ranks import environment, run_ranks
from torch.distributed import HashStore

from fastsep.data.wave.files import WaveSettings
from fastsep.data.wave.generate import generate
from fastsep.distributed import LostError, _agree_on_place, joined
from fastsep.errors import ToldElsewhere, UserError
from fastsep.runs.checkpoint import load_model, newest_checkpoint
from fastsep.training.loop import resume, train
from fastsep.training.preparation import prepare
from fastsep.world import World


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return generate(tmp_path_factory.mktemp("waves"), WaveSettings(10, 80), torch.device("cpu"))


def one_speaks(results, message, kind=UserError):
    """One rank has the error, whichever was first; the others end without a word."""
    errors = [error for error in results if isinstance(error, kind)]
    assert len(errors) == 1, results
    text = str(errors[0])
    assert message in text and "\n" not in text
    others = [error for error in results if error is not errors[0]]
    assert all(isinstance(error, ToldElsewhere) for error in others), results


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("raises", "rank 1 has had enough"),
        pytest.param(
            "cannot reach a path",
            "cannot be reached (File name too long): give another path",
            marks=pytest.mark.slow,
        ),
        ("has other settings", "rank 1 was started with another --lr and --clip-norm than rank 0"),
        ("has other data", "rank 1 sees other data than rank 0"),
        ("sees no run", "put the run on a disk that all ranks share"),
    ],
)
def test_one_rank_says_what_is_wrong(data, tmp_path, how, message):
    one_speaks(run_ranks(2, fail, how, wave100(data), tmp_path / "run"), message)


def test_ranks_that_were_started_differently(tmp_path):
    one_speaks(run_ranks(2, start_differently), "rank 1 was started with --resume and rank 0 without")
    one_speaks(run_ranks(2, start_on_another_machine), "rank 1 runs on cpu, bf16; rank 0 on cpu, fp32: set --device")
    one_speaks(run_ranks(2, make_other_waves, tmp_path / "waves"), "rank 1 was started with other settings")
    assert not (tmp_path / "waves").exists()


def test_a_rank_that_dies_ends_all_and_keeps_the_checkpoint(data, tmp_path):
    first, *rest = run_ranks(3, fail, "dies", wave100(data, batch_size=9), tmp_path / "run")
    assert isinstance(rest.pop(0), EOFError)
    one_speaks([first, *rest], "lost another one, which died or hangs", LostError)
    assert newest_checkpoint(tmp_path / "run").step == 4


@pytest.mark.slow
def test_a_rank_that_hangs_ends_all_in_time(data, tmp_path):
    results = run_ranks(2, fail, "hangs", wave100(data), tmp_path / "run", patience=5.0)
    one_speaks(results, "rank 0 lost another one, which died or hangs (Timed out", LostError)
    assert str(results[0]).endswith("start it again; a longer --timeout helps where it was only slow")


def test_an_exchange_that_ends_with_another_that_times_out_has_lost_a_rank():
    results = run_ranks(2, wait_for_the_later_of_two, patience=5.0)
    one_speaks(results, "rank 0 lost another one, which died or hangs (Timed out): start it again;", LostError)


def test_a_signal_to_one_rank_stops_all_at_one_step(data, tmp_path):
    config, whole, run = wave100(data), tmp_path / "whole", tmp_path / "run"
    results = run_ranks(2, fail, "is asked to stop", config, run)
    (stop,) = [stop for stop in results if isinstance(stop, str)]
    assert re.match(r"stopped by SIGTERM: step [56] is saved, continue with", stop)
    (other,) = [other for other in results if other is not stop]
    assert isinstance(other, ToldElsewhere) and other.status == 143
    assert newest_checkpoint(run).step in (5, 6)
    train(config, whole, False)
    resume(run, False)
    for ours, theirs in zip(*(load_model(run)[0].state_dict().values() for run in (run, whole)), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-6)


def test_more_processes_than_sequences_of_a_batch(data, tmp_path):
    one_speaks(run_ranks(4, fail, "", wave100(data, batch_size=3), tmp_path / "run"), "set --batch-size to 4, or start")
    assert not (tmp_path / "run").exists()


def test_what_fits_one_rank_fits_all_though_the_first_ones_have_theirs_by_then():
    assert run_ranks(2, fits_while_others_hold, 240, 1000) == [True, True]
    assert run_ranks(2, fits_while_others_hold, 260, 1000) == [False, False]


def test_what_can_be_known_is_refused_before_data_are_made(tmp_path):
    config = wave100(tmp_path / "not there", batch_size=8)
    with pytest.raises(UserError, match=r"a batch of 8 .* set --batch-size to 6 or 9, or start fewer"):
        prepare(config, World(size=3), print)
    with pytest.raises(UserError, match=r"a batch of 8 .*: a run keeps its --batch-size, so start 1 or 2$"):
        prepare(config, World(size=3), print, tmp_path)
    profiled = replace(config, run=replace(config.run, profile=True), optim=replace(config.optim, steps=3))
    with pytest.raises(UserError, match="--profile traces"):
        prepare(profiled, World(), print)
    with pytest.raises(UserError, match="not there"):
        prepare(config, World(), print)


def test_what_processes_before_left_in_the_store_is_not_for_these():
    store = HashStore()
    places = []

    def meet(rank, found):
        found.append(_agree_on_place(store, World(rank, 3), 10.0))

    for _ in range(3):
        found = []
        threads = [threading.Thread(target=meet, args=(rank, found)) for rank in range(3)]
        for thread in threads:
            thread.start()
            time.sleep(0.1)  # rank 0 finds the names that the ranks before left, and one of them thanked
        for thread in threads:
            thread.join(10)
        (place,) = set(found)
        assert len(found) == 3 and place not in places
        places.append(place)
        # A process that came, and was gone before the others were there.
        store.set("fastsep/rank/2", f"name {len(places)}")
    with pytest.raises(RuntimeError, match=r"rank 1, 2 not there after 0\.1 s"):
        _agree_on_place(store, World(0, 3), 0.1)


@pytest.fixture
def listener():
    """A program that has taken a port, and is no store."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener


def cannot_join(monkeypatch, match, rank, port, **others):
    for name, value in {**environment(rank, 2, port), "TORCHELASTIC_USE_AGENT_STORE": "False", **others}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=match), joined(1.0):
        raise AssertionError("it joined")


def test_others_that_never_come(monkeypatch, listener):
    port = listener.getsockname()[1]
    listener.close()
    cannot_join(monkeypatch, rf"rank 1 of 2 does not meet the others at 127\.0\.0\.1:{port} \(", 1, port)


def test_a_port_that_is_taken(monkeypatch, listener):
    cannot_join(monkeypatch, r"rank 0 of 2 does not meet .*address already in use", 0, listener.getsockname()[1])


def test_an_environment_that_says_nonsense(monkeypatch):
    cannot_join(monkeypatch, r"WORLD_SIZE is 'two'.*torchrun", 0, 1, WORLD_SIZE="two")
    cannot_join(monkeypatch, "RANK is 5 and WORLD_SIZE 2 .*torchrun", 5, 1)
    cannot_join(monkeypatch, "RANK is 0 and WORLD_SIZE 9{20} .*torchrun", 0, 1, WORLD_SIZE="9" * 20)
    cannot_join(monkeypatch, "WORLD_SIZE is 2 .* without RANK, MASTER_PORT: .*torchrun", 0, 1, RANK="", MASTER_PORT="")
