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
from ivm_model.data.examples import Examples, FeedConfig, load
from ivm_model.data.feed import Feed
from ivm_model.data.order import deal, draws
from ivm_model.data.training_index import index_rows
from ivm_model.data.training_rows import RowsConfig
from ivm_model.model.masking_model import MaskingModel
from ivm_model.train.generator import GeneratorConfig, GeneratorTrainer
from storage.data_set import DataSet
from storage.errors import ConfigError, ShardError
from storage.parts import layout
from storage.parts.shards import commit_part
from storage.pixels import rle
from storage.pixels.images import decode
from storage.records import PartResult

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
    return index_rows(shards, RowsConfig(test_share=0.3)).of("human", "machine")


def series(feed, batch, seed=0):
    rng = np.random.default_rng(seed)
    usable_K = np.arange(len(feed.index))
    return draws(lambda number: feed.epoch(usable_K, number, rng), batch)


def test_an_example_is_the_image_and_the_mask_of_its_row(index, read_rows):
    rows = {row.sample_id: row for row in read_rows(index).train}
    examples = Examples(index, FeedConfig(), SIDE, 0)
    for k, sample_id in enumerate(index.facts["sample_id"].to_pylist()):
        np.testing.assert_array_equal(examples[k].image_HWC, decode(rows[sample_id].image))
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
    feed, total = Feed(model, index, FeedConfig(buffer=3, memory_mb=0), seed), world * batch * accumulate
    steps = -(-2 * len(index) // total)
    stop = min(stop, steps)
    before = list(islice(series(feed, total, seed), stop))
    after = list(islice(series(feed, total, seed), stop, steps))
    dealt = [taken for draw in before + after for rank in range(world) for taken in deal(draw, batch, rank, world)]
    assert all(len(taken) == batch for taken in dealt)
    seen = np.sort(np.concatenate(dealt))
    whole_epochs = seen[seen < 2 * len(index)]
    np.testing.assert_array_equal(whole_epochs, np.arange(2 * len(index))[: len(whole_epochs)])
    assert len(whole_epochs) == 2 * len(index)


@settings(max_examples=6, deadline=None)
@given(workers=st.integers(0, 3), stop=st.integers(1, 5), batch=st.integers(3, 30))
def test_examples_do_not_depend_on_the_number_of_workers_or_on_where_it_resumed(index, workers, stop, batch):
    config = FeedConfig(buffer=2, augment=AugmentConfig(flip=0.5, crop=0.5, colour=0.3))
    order = np.random.default_rng(batch).permutation(2 * len(index))[: 6 * batch].reshape(6, batch)
    plain = [example for taken in order for example in map(Examples(index, config, SIDE, 0).__getitem__, taken)]
    resumed = [example for taken in load(Examples(index, config, SIDE, 0), order[stop:], workers) for example in taken]
    for one, other in zip(plain[stop * batch :], resumed, strict=True):
        assert one.index == other.index and not one.problem
        np.testing.assert_array_equal(one.image_HWC, other.image_HWC)
        np.testing.assert_array_equal(one.mask_HW, other.mask_HW)


def test_rows_come_as_often_as_their_origin_and_source_say(index, model):
    feed = Feed(model, index, FeedConfig(memory_mb=0, repeat={"human": 3, "machine": 0.5}), 0)
    usable_K, rng = np.arange(len(index)), np.random.default_rng(0)
    drawn = np.concatenate([feed.epoch(usable_K, number, rng) % len(index) for number in range(40)])
    times_K = np.bincount(drawn, minlength=len(index)) / 40
    assert (times_K[index.human] == 3).all() and times_K[index.machine].mean() == pytest.approx(0.5, abs=0.03)
    with pytest.raises(ConfigError, match=r"names \['coco'\]; choose from human, machine, squares"):
        Feed(model, index, FeedConfig(memory_mb=0, repeat={"coco": 2}), 0)


def test_neighbours_in_an_epoch_lie_in_few_row_groups_but_not_in_one(index, model):
    feed = Feed(model, index, FeedConfig(buffer=2, memory_mb=0), 0)
    order = feed.epoch(np.arange(len(index)), 0, np.random.default_rng(0))
    groups = [len(set(feed.group_K[order[start : start + 40]])) for start in range(0, len(order) - 40, 40)]
    assert 1 < max(groups) <= 4


def test_a_worker_keeps_no_more_row_groups_than_it_may(index):
    rows = Examples(index, FeedConfig(buffer=2), SIDE, 0)
    for k in range(0, len(index), 5):
        rows[k]
    assert len(rows.reader._groups) == 2


def test_rows_that_are_read_each_time_train(index, model):
    trainer = GeneratorTrainer(
        model, Feed(model, index, FeedConfig(workers=0, memory_mb=0), 0), GeneratorConfig(steps=3, batch=4), 0
    )
    losses = trainer.run(np.ones(len(index), np.float32), 3)
    assert np.isfinite(losses).all() and losses[2] < losses[0] + 0.01


def broken(shards, tmp_path, change):
    """A copy of the shards with a changed heavy file of the first part, its footer as it was."""
    import shutil

    data = tmp_path / "broken"
    shutil.copytree(shards, data)
    path = layout.heavy_path(DataSet.open(data).files("light")[0])
    table = pq.read_table(path)
    rows = change(table.to_pylist())
    table = pa.Table.from_pylist(rows, schema=table.schema)
    pq.write_table(table, path, row_group_size=64)
    return data


@pytest.mark.parametrize("memory", [0, 512])
@pytest.mark.parametrize("kind", ["unreadable image", "torn mask", "mask of another size", "no image"])
def test_a_bad_row_is_counted_and_left_out(shards, tmp_path, model, kind, memory):
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

    index = index_rows(broken(shards, tmp_path, change), RowsConfig(test_share=0.0)).of("human", "machine")
    feed = Feed(model, index, FeedConfig(workers=0, memory_mb=memory), 0)
    seen = np.concatenate([batch.index_B for batch in feed.in_order(np.arange(len(index)), 60)])
    assert len(feed.skipped) == len(index) - len(seen) >= 1
    assert not {index.words("sample_id")[k] for k in seen} & feed.skipped.keys()
    assert feed.skipped.keys() < set(index.facts["sample_id"].to_pylist()) and all(feed.skipped.values())


def tear(data, part: int, count: int) -> None:
    """Give some images of a part bytes that are no image."""
    path = layout.heavy_path(DataSet.open(data).files("light")[part])
    table = pq.read_table(path)
    rows = table.to_pylist()
    for row in [row for row in rows if row["image"]][:count]:
        row["image"] = b"\x00"
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path, row_group_size=64)


@pytest.mark.parametrize("memory", [0, 512])
def test_a_batch_without_a_readable_row_teaches_nothing_and_the_training_goes_on(labels, tmp_path, model, memory):
    commit_part(tmp_path, PartResult("part-0", "recipe", tuple(labels)))
    tear(tmp_path, 0, 3)
    index = index_rows(tmp_path, RowsConfig(test_share=0.0))
    feed = Feed(model, index, FeedConfig(workers=0, memory_mb=memory), 0)
    losses = GeneratorTrainer(model, feed, GeneratorConfig(steps=60, batch=1), 0).run(np.ones(30, np.float32), 60)
    assert len(feed.skipped) == 3 and losses.count(0.0) == (0 if memory else 6)
    assert np.isfinite(losses).all()


@pytest.mark.parametrize("memory", [0, 512])
def test_too_many_unreadable_rows_end_the_training_and_the_limit_can_be_raised(labels, tmp_path, model, memory):
    commit_part(tmp_path, PartResult("part-0", "recipe", tuple(labels)))
    tear(tmp_path, 0, 11)
    index = index_rows(tmp_path, RowsConfig(test_share=0.0))
    config = FeedConfig(workers=0, memory_mb=memory)
    with pytest.raises(ShardError, match=r"11 of 30 training rows cannot be read, 10 may be.*'feed.unreadable'"):
        list(Feed(model, index, config, 0).in_order(np.arange(30), 4))
    feed = Feed(model, index, dataclasses.replace(config, unreadable=0.5), 0)
    list(feed.in_order(np.arange(30), 4))
    assert len(feed.skipped) == 11


def test_a_shard_that_changed_since_the_start_ends_the_training(shards, tmp_path, model):
    import shutil

    data = tmp_path / "changing"
    shutil.copytree(shards, data)
    index = index_rows(data, RowsConfig(test_share=0.0))
    first, *_, last = [layout.heavy_path(path) for path in DataSet.open(data).files("light")]
    shutil.copy(last, first)
    with pytest.raises(ShardError, match="changed while it was trained on"):
        list(Feed(model, index, FeedConfig(workers=0, memory_mb=0), 0).batches([np.arange(4)]))


def test_the_loader_leaves_the_random_numbers_of_the_training_alone(index):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    list(load(Examples(index, FeedConfig(), SIDE, 0), [np.arange(4)], 1))
    assert torch.equal(torch.rand(3), expected)


def batches_of(feed, draws):
    return {
        int(k): (b.encoded.sam_BCHW[i], b.encoded.vision_BTC[i], b.target_BHW[i], b.valid_BHW[i], b.instructions[i])
        for b in feed.batches(draws)
        for i, k in enumerate(b.index_B)
    }


@pytest.mark.parametrize("workers", [0, 2])
def test_what_stays_in_memory_changes_no_number_and_no_order(index, model, workers):
    def feed(memory):
        return Feed(model, index, FeedConfig(workers=workers, memory_mb=memory), 0)

    streamed, mixed, kept = feed(0), feed(0.5), feed(512)
    assert streamed.features is None and 0 < len(mixed.features) < len(index) == len(kept.features)
    orders = [each.epoch(np.arange(len(index)), 0, np.random.default_rng(0)) for each in (streamed, mixed, kept)]
    assert orders[0].tolist() == orders[1].tolist() == orders[2].tolist()
    draws = [orders[0][start : start + 12] for start in range(0, len(orders[0]), 12)]
    found = [batches_of(each, draws) for each in (streamed, mixed, kept)]
    for k, expected in found[0].items():
        for other in found[1:]:
            for a, b in zip(expected[:-1], other[k][:-1], strict=True):
                torch.testing.assert_close(a, b, atol=2e-3, rtol=2e-3)
            assert expected[-1] == other[k][-1]


def test_rows_that_stay_in_memory_are_not_encoded_again(index, model, monkeypatch):
    encoded, encode = [], MaskingModel.encode
    monkeypatch.setattr(
        MaskingModel,
        "encode",
        lambda self, images, kept=None: encoded.append(len(images)) or encode(self, images, kept),
    )
    feed = Feed(model, index, FeedConfig(workers=0), 0)
    images = sum(encoded) - 1  # one blank image tells how much memory an image takes
    list(feed.in_order(np.arange(len(index)), 20))
    assert images == len(set(index.words("image_sha"))) and sum(encoded) == images + 1


def test_augmented_rows_never_stay_in_memory(index, model):
    assert Feed(model, index, FeedConfig(augment=AugmentConfig(flip=0.5)), 0).features is None


@pytest.mark.parametrize(
    "wrong", [{"buffer": 0}, {"workers": -1}, {"memory_mb": -1}, {"unreadable": 2}, {"repeat": {"a": -1}}]
)
def test_a_config_that_cannot_work_is_refused(wrong):
    with pytest.raises(ConfigError):
        FeedConfig(**wrong)
