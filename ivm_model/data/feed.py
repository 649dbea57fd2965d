"""Training rows, read from the shards while training goes on and encoded once where memory allows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import repeat, tee
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from ivm_model.data.embedding_cache import EmbeddingCache
from ivm_model.data.examples import Example, Examples, FeedConfig, load
from ivm_model.data.features import Batch, FeatureBuilder, Features, bytes_of, encode_rows
from ivm_model.data.order import by_groups, repeats
from ivm_model.data.pixels import place, valid_mask
from ivm_model.data.row_reader import UNREADABLE, RowReader
from ivm_model.data.training_index import TrainingIndex
from ivm_model.data.training_rows import TrainingRow
from ivm_model.engine.optimization import Progress, silent
from ivm_model.model.masking_model import Encoded, MaskingModel
from storage.errors import ConfigError, ShardError

ELSEWHERE, UNREADABLE_ROW = -1, -2
_FREE = 10
"""Unreadable rows that never end a training."""


class Feed:
    """The rows of an index as batches of model inputs and targets, in an order that follows from seed and index alone.

    The first rows stay in memory as the frozen encoders see them, up to `FeedConfig.memory_mb`; the others are read,
    decoded and encoded each time. Which rows stay depends on the index and the bound, never on what was drawn before:
    a training that was killed goes on with the same numbers. Both kinds pass through half precision.

    Args:
        index: rows that train.
        cache: where SAM's embeddings are kept on disk.

    Attributes:
        features: the rows that stay in memory; None where there are none.
        slot_K: where in `features` each row is; ELSEWHERE where it is not, UNREADABLE_ROW where nothing can be read.
        skipped: sample id -> why the row was left out.

    Raises:
        ConfigError: 'repeat' names an unknown source, or the cache cannot be used.
        ShardError: more rows than `FeedConfig.unreadable` allows cannot be read, or a shard changed.
    """

    def __init__(
        self,
        model: MaskingModel,
        index: TrainingIndex,
        config: FeedConfig,
        seed: int,
        *,
        cache: EmbeddingCache | None = None,
        progress: Progress = silent,
    ) -> None:
        if cache is not None:
            if config.augment.active:
                raise ConfigError(
                    "kept embeddings are of unchanged images; set 'embeddings' or 'feed.augment', not both"
                )
            cache.reserve(index.facts["image_sha"].unique().to_pylist())
        self.model, self.index, self.config, self.cache = model, index, config, cache
        self.examples = Examples(index, config, model.side, seed)
        self.times_K = _times(index, config.repeat)
        self.group_K = index.groups
        self.skipped: dict[str, str] = {}
        self.slot_K = np.full(len(index), ELSEWHERE, np.int64)
        self.features = self._fill(0 if config.augment.active else int(config.memory_mb * 2**20), progress)

    @property
    def reader(self) -> RowReader:
        """Reads whole rows of the index in this process."""
        return self.examples.reader

    def epoch(self, usable_K: np.ndarray, number: int, rng: np.random.Generator) -> np.ndarray:
        """What is drawn in an epoch, in order: each usable row as often as its origin and source say.

        Args:
            usable_K: indices of rows; those that are known to be unreadable are left out.
            number: of the epoch, from 0.

        Returns:
            Draws that `batches` takes, `number * len(index) + row`, a few row groups at a time.
        """
        usable_K = self._readable(usable_K)
        times_K = self.times_K[usable_K]
        chosen_K = np.repeat(usable_K, repeats(times_K, rng))
        if not len(chosen_K) and not times_K.any():
            raise ConfigError("every row that has a weight is repeated 0 times; change 'feed.repeat'")
        draw: np.ndarray = (
            number * len(self.index) + chosen_K[by_groups(self.group_K[chosen_K], self.config.buffer, rng)]
        )
        return draw

    def batches(self, draws: Iterable[np.ndarray]) -> Iterator[Batch]:
        """The readable rows of each draw.

        A draw of which no row can be read gives a batch of one row that counts nowhere: all of it is padding.

        Raises:
            ShardError: too many rows cannot be read, or a shard changed.
        """
        draws, again = tee(draws)
        if (self.slot_K != ELSEWHERE).all():
            loaded: Iterator[list[Example]] = repeat([])
        else:
            loaded = load(self.examples, map(self._not_kept, again), self.config.workers)
        return map(self._batch, draws, loaded)

    def in_order(self, index_K: np.ndarray, size: int) -> Iterator[Batch]:
        """Some rows, ascending, in batches of at most `size`: each row group is read once; errors as of `batches`."""
        ordered_K = np.sort(self._readable(index_K))
        return self.batches(ordered_K[start : start + size] for start in range(0, len(ordered_K), size))

    def features_of(self, index_N: np.ndarray, rows: Sequence[TrainingRow], progress: Progress = silent) -> Features:
        """The features of some rows, which the caller has read: from memory where all of them stay there.

        Raises:
            ShardError: an image cannot be read, or a mask is not of its image's shape.
        """
        if self.features is not None and (self.slot_K[index_N] >= 0).all():
            return self.features.take(self.slot_K[index_N])
        return encode_rows(self.model, rows, progress, self.cache)

    def skip(self, problems: Mapping[str, str]) -> None:
        """Count rows that cannot be read.

        Args:
            problems: sample id -> why.

        Raises:
            ShardError: they are too many by now.
        """
        self.skipped |= problems
        allowed = max(_FREE, int(self.config.unreadable * len(self.index)))
        if len(self.skipped) > allowed:
            sample_id, problem = next(iter(self.skipped.items()))
            raise ShardError(
                f"{len(self.skipped)} of {len(self.index)} training rows cannot be read, {allowed} may be; sample "
                f"{sample_id}: {problem}; 'ivm snapshot verify' names the damaged parts: label them again, or raise "
                "'feed.unreadable'"
            )

    def _readable(self, index_K: np.ndarray) -> np.ndarray:
        readable_K: np.ndarray = index_K[self.slot_K[index_K] != UNREADABLE_ROW]
        return readable_K

    def _fill(self, memory: int, progress: Progress) -> Features | None:
        """Encode the first rows, as many as the memory holds."""
        if not memory:
            return None
        image_bytes, row_bytes = bytes_of(self.model)
        _, first = np.unique(self.index.image_K, return_index=True)
        cost_K = np.full(len(self.index), row_bytes)
        cost_K[first] += image_bytes
        rows = int(np.searchsorted(np.cumsum(cost_K), memory, side="right"))
        if not rows:
            return None
        builder = FeatureBuilder(self.model, int((first < rows).sum()), rows, self.cache)
        for k in range(rows):
            self._add(builder, k)
            progress("encode", k + 1, rows)
        return builder.finish() if (self.slot_K >= 0).any() else None

    def _add(self, builder: FeatureBuilder, k: int) -> None:
        sha, words, sample_id = (
            self.index.facts[name][k].as_py() for name in ("image_sha", "instruction", "sample_id")
        )
        try:
            image, mask = self.reader.example(k)
            self.slot_K[k] = builder.add(sha, image, mask, words)
        except UNREADABLE as error:
            self.slot_K[k] = UNREADABLE_ROW
            self.skip({sample_id: str(error) or repr(error)})

    def _not_kept(self, draw: np.ndarray) -> np.ndarray:
        elsewhere: np.ndarray = draw[self.slot_K[draw % len(self.index)] == ELSEWHERE]
        return elsewhere

    def _batch(self, draw: np.ndarray, examples: list[Example]) -> Batch:
        kept_B = draw % len(self.index)
        kept_B = kept_B[self.slot_K[kept_B] >= 0]
        parts = []
        if len(kept_B) and self.features is not None:
            parts.append(self.features.batch(self.slot_K[kept_B]))
        good = [example for example in examples if not example.problem]
        bad = [example for example in examples if example.problem]
        self.skip(dict(zip(self._facts("sample_id", bad), (example.problem for example in bad), strict=True)))
        if good or not parts:
            parts.append(self._encode(good or bad))
        index_B = np.concatenate([kept_B, [example.index for example in (good or (() if len(kept_B) else bad))]])
        return _joined(index_B.astype(np.int64), parts)

    def _encode(self, examples: list[Example]) -> Batch:
        images, names = [example.image_HWC for example in examples], self._facts("image_sha", examples)
        readable = not examples[0].problem
        kept = self.cache.embed(images, names) if self.cache is not None and readable else None
        encoded, side = self.model.encode(images, kept), self.model.side
        encoded = Encoded(encoded.sam_BCHW.half().float(), encoded.vision_BTC.half().float(), encoded.placements)
        masks = [place(example.mask_HW, at, side) for example, at in zip(examples, encoded.placements, strict=True)]
        return Batch(
            index_B=np.array([example.index for example in examples]),
            encoded=encoded,
            instructions=self._facts("instruction", examples),
            target_BHW=torch.from_numpy(np.stack(masks)).float() / 255,
            valid_BHW=torch.stack([valid_mask(each, side) for each in encoded.placements]) & readable,
        )

    def _facts(self, column: str, examples: Sequence[Example]) -> list[Any]:
        rows = pa.array([example.index for example in examples], pa.int64())
        values: list[Any] = self.index.facts[column].take(rows).to_pylist()
        return values


def _joined(index_B: np.ndarray, parts: list[Batch]) -> Batch:
    device = parts[-1].encoded.sam_BCHW.device
    encoded = [part.encoded.to(device) for part in parts]
    return Batch(
        index_B=index_B,
        encoded=Encoded(
            torch.cat([each.sam_BCHW for each in encoded]),
            torch.cat([each.vision_BTC for each in encoded]),
            tuple(placement for each in encoded for placement in each.placements),
        ),
        instructions=[words for part in parts for words in part.instructions],
        target_BHW=torch.cat([part.target_BHW for part in parts]),
        valid_BHW=torch.cat([part.valid_BHW for part in parts]),
    )


def _times(index: TrainingIndex, repeat: Mapping[str, float]) -> np.ndarray:
    """How often each row comes in an epoch, times_K."""
    source_K = index.words("source")
    if unknown := set(repeat) - {"human", "machine", *source_K}:
        raise ConfigError(
            f"'feed.repeat' names {sorted(unknown)}; choose from human, machine, {', '.join(sorted(set(source_K)))}"
        )
    human_K = index.split_K == "human"
    origin_K = np.where(human_K, float(repeat.get("human", 1)), float(repeat.get("machine", 1)))
    times_K: np.ndarray = origin_K * np.array([float(repeat.get(source, 1)) for source in source_K])
    return times_K
