import numpy as np
import pytest
import torch

from ivm_data.engine.pipeline import run_isolated
from ivm_data.experts.common.batches import Batches
from ivm_data.stages.stage import Draft, Outcome
from storage.records import Sample


class Memory:
    """Work that fits up to `holds` items, and fails as CUDA does beyond that."""

    def __init__(self, holds):
        self.holds, self.sizes = holds, []

    def double(self, batch):
        self.sizes.append(len(batch))
        if len(batch) > self.holds:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return [2 * item for item in batch]


def test_each_item_has_its_result_in_order():
    memory = Memory(8)
    assert list(Batches(4).run(memory.double, range(10))) == [2 * i for i in range(10)]
    assert memory.sizes == [4, 4, 2]


def test_out_of_memory_halves_the_batch_and_the_size_that_worked_is_remembered():
    memory, batches = Memory(3), Batches(16)
    assert list(batches.run(memory.double, range(40))) == [2 * i for i in range(40)]
    assert batches.size == 2
    failed = sum(size > memory.holds for size in memory.sizes)
    memory.sizes.clear()
    assert list(batches.run(memory.double, range(40))) == [2 * i for i in range(40)]
    assert failed >= 3 and memory.sizes == [2] * 20


def test_a_single_item_that_does_not_fit_is_an_error():
    with pytest.raises(torch.OutOfMemoryError):
        list(Batches(4).run(Memory(0).double, range(4)))


def test_other_errors_are_not_taken_for_a_batch_that_is_too_large():
    def broken(batch):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    batches = Batches(4)
    with pytest.raises(RuntimeError, match="mat1"):
        list(batches.run(broken, range(4)))
    assert batches.size == 4


def test_real_memory_that_the_cpu_cannot_give_halves_the_batch_too():
    def allocate(batch):
        if len(batch) > 1:
            torch.empty(1 << 60, dtype=torch.uint8)
        return batch

    batches = Batches(2)
    assert list(batches.run(allocate, range(3))) == [0, 1, 2]
    assert batches.size == 1


def test_a_call_may_ask_for_less_than_the_size():
    memory = Memory(8)
    list(Batches(8).run(memory.double, range(6), most=4))
    assert memory.sizes == [4, 2]


def test_a_stage_whose_batches_are_too_large_rejects_no_sample():
    memory, batches = Memory(1), Batches(8)

    class Stage:
        name = "ground"

        def run(self, drafts):
            assert len(list(batches.run(memory.double, range(len(drafts))))) == len(drafts)
            return Outcome(list(drafts), [])

    image_HWC = np.zeros((4, 4, 3), np.uint8)
    drafts = [Draft(Sample(str(i), b"", "x.png", 4, 4, "the star", "test"), image_HWC) for i in range(8)]
    assert run_isolated(Stage(), drafts) == Outcome(drafts, [])
