"""Functions whose answers are constants of compiled code."""

import torch

from kernels.constant import constant_result


def test_the_mark_is_that_of_pytorch() -> None:
    marked = [mark(lambda: None) for mark in (constant_result, torch.compiler.assume_constant_result)]
    assert vars(marked[0]) == vars(marked[1]) != {}


def test_compiled_code_keeps_the_first_answer() -> None:
    asked = []

    @constant_result
    def answer() -> float:
        asked.append(None)
        return float(len(asked))

    compiled = torch.compile(lambda x: x * answer(), backend="eager", fullgraph=True)
    for _ in range(2):
        assert compiled(torch.ones(2)).tolist() == [1.0, 1.0]
    assert len(asked) == 1
