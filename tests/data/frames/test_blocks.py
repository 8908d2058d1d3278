"""Blocks of windows: every frame is read about once, few blocks are in memory, and batches mix many of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fastsep.data.frames.blocks import Blocks, find_runs
from fastsep.data.windows import all_starts

LENGTH = 6
CASES = {
    "long record": (all_starts(1, 3000, LENGTH), (1, 1)),
    "short sequences": (all_starts(300, 11, LENGTH), (1, 1)),
    "sequences stored in threes": (all_starts(300, 11, LENGTH), (3, 11)),
    "chunks of frames": (all_starts(3, 1000, LENGTH), (1, 10)),
    "one window each": (all_starts(300, LENGTH, LENGTH), (1, 1)),
    "shuffled, with gaps": (all_starts(5, 700, LENGTH)[torch.randperm(5 * 695)[:900]], (1, 1)),
}
FRAME = 40_000  # bytes: a block is 105 frames or more


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request):
    starts, chunk = request.param
    return starts.numpy(), Blocks(starts.numpy(), LENGTH, chunk, FRAME, budget=1400 * FRAME)


def test_a_block_holds_its_windows(case):
    starts, blocks = case
    total = 0
    for k in range(len(blocks)):
        sequence, first, count = blocks.runs(k)
        frames = [(s, f + i) for s, f, n in zip(sequence, first, count, strict=True) for i in range(n)]
        assert len(frames) <= blocks.rows
        for w in np.flatnonzero(blocks.block == k):
            row = blocks.row[w]
            assert frames[row : row + LENGTH] == [(starts[w, 0], starts[w, 1] + i) for i in range(LENGTH)]
        total += len(frames)
    needed = {(s, f + i) for s, f in starts.tolist() for i in range(LENGTH)}
    assert total <= 1.1 * len(needed)


def test_order_visits_every_window_once_with_few_blocks_begun(case):
    _, blocks = case
    order = blocks.order(torch.Generator().manual_seed(1))
    assert torch.equal(order.sort().values, torch.arange(len(blocks.block)))
    visits = blocks.block[order.numpy()]
    first = np.array([np.argmax(visits == k) for k in range(len(blocks))])
    last = np.array([len(visits) - 1 - np.argmax(visits[::-1] == k) for k in range(len(blocks))])
    begun = [np.sum((first <= t) & (t <= last)) for t in range(len(visits))]
    assert max(begun) <= blocks.slots
    assert len(blocks) <= blocks.slots or max(begun) <= blocks.slots - 2  # some are left to read ahead


def test_batches_mix_from_the_first_to_the_last(case):
    _, blocks = case
    order = blocks.order(torch.Generator().manual_seed(1)).numpy()
    seen = [len(set(blocks.block[order[i : i + 40]])) for i in range(0, len(order) - 40, 40)]
    assert len(seen) > 2 and min(seen) >= min(5, len(blocks))


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_a_share_of_each_batch_needs_a_share_of_the_blocks(ranks):
    batch = 24
    blocks = Blocks(all_starts(9, 3000, LENGTH).numpy(), LENGTH, (1, 1), FRAME, budget=2600 * FRAME)
    order = blocks.order(torch.Generator().manual_seed(1), batch)
    assert torch.equal(order.sort().values, torch.arange(len(blocks.block)))
    visits = blocks.block[order.numpy()]
    mixed = [len(set(visits[i : i + batch])) for i in range(0, len(order) - batch, batch)]
    assert min(mixed) >= 6
    begun = [np.flatnonzero(visits == k)[[0, -1]] for k in range(len(blocks))]
    most = max(sum(first <= t <= last for first, last in begun) for t in range(0, len(order), 50))
    assert most <= blocks.slots
    whole = visits[: len(visits) // batch * batch].reshape(-1, ranks, batch // ranks)
    for rank in range(ranks):
        assert len(set(whole[:, rank].flatten())) <= 1.2 * len(blocks) / ranks


def test_order_is_a_function_of_the_generator(case):
    _, blocks = case
    one, same, other = (blocks.order(torch.Generator().manual_seed(seed)) for seed in (3, 3, 4))
    assert torch.equal(one, same) and not torch.equal(one, other)


def test_blocks_are_as_long_as_what_the_file_stores_together():
    starts = all_starts(1, 5000, LENGTH).numpy()
    chunked = Blocks(starts, LENGTH, (1, 50), FRAME, budget=8000 * FRAME)
    firsts = [int(chunked.runs(k)[1][0]) for k in range(len(chunked))]
    assert chunked.rows >= 4 * 50 and all(first % 50 == 0 for first in firsts)
    together = Blocks(all_starts(300, 11, LENGTH).numpy(), LENGTH, (3, 11), FRAME, budget=1400 * FRAME)
    assert all(together.runs(k)[0][0] % 3 == 0 for k in range(len(together)))


def test_a_buffer_must_hold_several_windows():
    with pytest.raises(ValueError, match="do not fit"):
        Blocks(all_starts(1, 100, LENGTH).numpy(), LENGTH, (1, 1), FRAME, budget=7 * LENGTH * FRAME)


def test_runs_share_overlaps_and_leave_gaps_out():
    sequence, first = np.array([0, 0, 0, 0, 2]), np.array([0, 2, 5, 40, 41])
    runs = find_runs(sequence, first, 3)
    assert runs.sequence.tolist() == [0, 0, 2]
    assert runs.first.tolist() == [0, 40, 41]
    assert runs.count.tolist() == [8, 3, 3]
    assert runs.row.tolist() == [0, 2, 5, 8, 11]
