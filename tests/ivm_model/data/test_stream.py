import dataclasses
import io
from itertools import islice

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from ivm_model.data.augment import AugmentConfig
from ivm_model.data.dataset import DataConfig, load_rows
from ivm_model.data.order import deal, draws
from ivm_model.data.shard_index import index_shards
from ivm_model.data.shard_rows import ShardRows, StreamConfig, load
from ivm_model.data.stream import Stream
from ivm_model.train.generator import GeneratorConfig, GeneratorTrainer
from storage import layout
from storage.errors import ConfigError, ShardError
from storage.records import PartResult
from storage.shards import commit_part

SIDE = 64


@pytest.fixture(scope="module")
def shards(labels, tmp_path_factory):
    """Three parts of eight row groups in all, which hold 240 rows: each of the 30 labels under eight instructions."""
    data = tmp_path_factory.mktemp("stream") / "data"
    for part in range(3):
        parts = []
        for turn in range(part, 8, 3):
            for label in labels:
                words = f"{label.sample.instruction} {turn}"
                sample = dataclasses.replace(label.sample, id=f"{label.sample.id[:24]}{turn:08d}", instruction=words)
                parts.append(dataclasses.replace(label, sample=sample))
        commit_part(data, PartResult(f"part-{part}", "recipe", tuple(parts)))
    return data


@pytest.fixture(scope="module")
def index(shards):
    return index_shards(shards, DataConfig(test_share=0.3))


def series(stream, batch, seed=0):
    rng = np.random.default_rng(seed)
    usable_K = np.arange(len(stream.index))
    return draws(lambda number: stream.epoch(usable_K, number, rng), batch)


def test_the_index_holds_the_rows_that_a_training_in_memory_holds(shards, index):
    rows = load_rows(shards, DataConfig(test_share=0.3))
    sides = dict(zip(index.facts["sample_id"].to_pylist(), index.human_K, strict=True))
    assert sides == {row.sample_id: row.origin == "human" for row in rows.train}
    assert [row.sample_id for row in index.test] == [row.sample_id for row in rows.test]


def test_an_example_is_the_image_and_the_mask_of_its_row(shards, index):
    from ivm_model.data.dataset import decode_image
    from storage import rle

    rows = {row.sample_id: row for row in load_rows(shards, DataConfig(test_share=0.3)).train}
    examples = ShardRows(index, StreamConfig(), SIDE, 0)
    for k, sample_id in enumerate(index.facts["sample_id"].to_pylist()):
        np.testing.assert_array_equal(examples[k].image_HWC, decode_image(rows[sample_id]))
        np.testing.assert_array_equal(examples[k].mask_HW > 0, rle.decode(rows[sample_id].mask))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    world=st.integers(1, 7),
    batch=st.integers(1, 9),
    accumulate=st.integers(1, 3),
    stop=st.integers(0, 60),
    seed=st.integers(0, 9),
)
def test_no_row_is_lost_or_doubled_across_processes_and_resumes(index, model, world, batch, accumulate, stop, seed):
    stream, total = Stream(model, index, StreamConfig(buffer=3), seed), world * batch * accumulate
    steps = -(-2 * len(index) // total)
    stop = min(stop, steps)
    before = list(islice(series(stream, total, seed), stop))
    after = list(islice(series(stream, total, seed), stop, steps))
    dealt = [taken for draw in before + after for rank in range(world) for taken in deal(draw, batch, rank, world)]
    assert all(len(taken) == batch for taken in dealt)
    seen = np.sort(np.concatenate(dealt))
    whole_epochs = seen[seen < 2 * len(index)]
    np.testing.assert_array_equal(whole_epochs, np.arange(2 * len(index))[: len(whole_epochs)])
    assert len(whole_epochs) == 2 * len(index)


@settings(max_examples=6, deadline=None)
@given(workers=st.integers(0, 3), stop=st.integers(1, 5), batch=st.integers(3, 30))
def test_examples_do_not_depend_on_the_number_of_workers_or_on_where_it_resumed(index, workers, stop, batch):
    config = StreamConfig(buffer=2, augment=AugmentConfig(flip=0.5, crop=0.5, colour=0.3))
    order = np.random.default_rng(batch).permutation(2 * len(index))[: 6 * batch].reshape(6, batch)
    plain = [example for taken in order for example in map(ShardRows(index, config, SIDE, 0).__getitem__, taken)]
    resumed = [example for taken in load(ShardRows(index, config, SIDE, 0), order[stop:], workers) for example in taken]
    for one, other in zip(plain[stop * batch :], resumed, strict=True):
        assert one.index == other.index and not one.problem
        np.testing.assert_array_equal(one.image_HWC, other.image_HWC)
        np.testing.assert_array_equal(one.mask_HW, other.mask_HW)


def test_rows_come_as_often_as_their_origin_and_source_say(index, model):
    stream = Stream(model, index, StreamConfig(repeat={"human": 3, "machine": 0.5}), 0)
    usable_K, rng = np.arange(len(index)), np.random.default_rng(0)
    drawn = np.concatenate([stream.epoch(usable_K, number, rng) % len(index) for number in range(40)])
    times_K = np.bincount(drawn, minlength=len(index)) / 40
    assert (times_K[index.human_K] == 3).all() and times_K[~index.human_K].mean() == pytest.approx(0.5, abs=0.03)
    with pytest.raises(ConfigError, match=r"names \['coco'\]; choose from human, machine, squares"):
        Stream(model, index, StreamConfig(repeat={"coco": 2}), 0)


def test_neighbours_in_an_epoch_lie_in_few_row_groups_but_not_in_one(index, model):
    stream = Stream(model, index, StreamConfig(buffer=2), 0)
    order = stream.epoch(np.arange(len(index)), 0, np.random.default_rng(0))
    groups = [len(set(stream.group_K[order[start : start + 40]])) for start in range(0, len(order) - 40, 40)]
    assert 1 < max(groups) <= 4


def test_a_worker_keeps_no_more_row_groups_than_it_may(index):
    rows = ShardRows(index, StreamConfig(buffer=2), SIDE, 0)
    for k in range(0, len(index), 5):
        rows[k]
    assert len(rows.reader._groups) == 2


def test_a_stream_trains_as_the_same_rows_in_memory_do(index, model):
    trainer = GeneratorTrainer(
        model, Stream(model, index, StreamConfig(workers=0), 0), GeneratorConfig(steps=3, batch=4), 0
    )
    losses = trainer.run(np.ones(len(index), np.float32), 3)
    assert np.isfinite(losses).all() and losses[2] < losses[0] + 0.01


def broken(shards, tmp_path, change):
    """A copy of the shards with a changed heavy file of the first part, its footer as it was."""
    import shutil

    data = tmp_path / "broken"
    shutil.copytree(shards, data)
    path = layout.heavy_path(layout.label_files(data)[0])
    table = pq.read_table(path)
    rows = change(table.to_pylist())
    table = pa.Table.from_pylist(rows, schema=table.schema)
    pq.write_table(table, path, row_group_size=64)
    return data


@pytest.mark.parametrize("kind", ["unreadable image", "torn mask", "mask of another size", "no image"])
def test_a_bad_row_is_counted_and_left_out(shards, tmp_path, model, kind):
    def change(rows):
        row = next(row for row in rows if row["image"])
        other = {"mask": b"zz", "human_mask": b"zz"} if kind == "torn mask" else {}
        other |= {"image": b"\x00\x01"} if kind == "unreadable image" else {}
        other |= {"image": None} if kind == "no image" else {}
        if kind == "mask of another size":
            file = io.BytesIO()
            Image.fromarray(np.zeros((16, 64, 3), np.uint8)).save(file, "PNG")
            other = {"image": file.getvalue()}
        row.update(other)
        return rows

    index = index_shards(broken(shards, tmp_path, change), DataConfig(test_share=0.0))
    stream = Stream(model, index, StreamConfig(workers=0), 0)
    sizes = [len(batch.index_B) for batch in stream.batches(np.arange(len(index)).reshape(-1, 60))]
    assert len(stream.skipped) == len(index) - sum(sizes) >= 1
    assert stream.skipped.keys() < set(index.facts["sample_id"].to_pylist()) and all(stream.skipped.values())


def test_a_batch_without_a_readable_row_ends_the_training(shards, tmp_path, model):
    data = broken(shards, tmp_path, lambda rows: [row | {"image": b"\x00" if row["image"] else None} for row in rows])
    stream = Stream(model, index_shards(data, DataConfig(test_share=0.0)), StreamConfig(workers=0), 0)
    with pytest.raises(ShardError, match="no row of a batch can be read"):
        list(stream.batches([np.arange(4)]))


def test_a_shard_that_changed_since_the_start_ends_the_training(shards, tmp_path, model):
    import shutil

    data = tmp_path / "changing"
    shutil.copytree(shards, data)
    index = index_shards(data, DataConfig(test_share=0.0))
    first, *_, last = [layout.heavy_path(path) for path in layout.label_files(data)]
    shutil.copy(last, first)
    with pytest.raises(ShardError, match="changed while it was trained on"):
        list(Stream(model, index, StreamConfig(workers=0), 0).batches([np.arange(4)]))


def test_the_loader_leaves_the_random_numbers_of_the_training_alone(index):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    list(load(ShardRows(index, StreamConfig(), SIDE, 0), [np.arange(4)], 1))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("wrong", [{"buffer": 0}, {"workers": -1}, {"repeat": {"human": -1}}])
def test_a_config_that_cannot_work_is_refused(wrong):
    with pytest.raises(ConfigError):
        StreamConfig(**wrong)
