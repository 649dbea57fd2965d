"""Training rows read from the shards while training goes on, in the same order whatever the number of workers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from ivm_model.data.embedding_cache import EmbeddingCache
from ivm_model.data.features import Batch, place, valid_mask
from ivm_model.data.order import by_groups, repeats
from ivm_model.data.shard_index import ShardIndex
from ivm_model.data.shard_rows import Example, ShardRows, StreamConfig, load
from ivm_model.model.masking_model import MaskingModel
from storage.errors import ConfigError, ShardError


class Stream:
    """A `Feed` over shards: what `ShardRows` reads, encoded on the fly.

    Args:
        cache: where SAM's embeddings are kept.

    Attributes:
        skipped: sample id -> why the row was left out.

    Raises:
        ConfigError: 'repeat' names an unknown source, or the cache cannot be used.
    """

    def __init__(
        self,
        model: MaskingModel,
        index: ShardIndex,
        config: StreamConfig,
        seed: int,
        cache: EmbeddingCache | None = None,
    ) -> None:
        if cache is not None:
            if config.augment.active:
                raise ConfigError(
                    "kept embeddings are of unchanged images; set 'embeddings' or 'stream.augment', not both"
                )
            cache.reserve(index.facts["image_sha"].unique().to_pylist())
        self.model, self.index, self.config, self.cache = model, index, config, cache
        self.rows = ShardRows(index, config, model.side, seed)
        self.times_K = _times(index, config.repeat)
        self.group_K = index.groups
        self.skipped: dict[str, str] = {}

    def epoch(self, usable_K: np.ndarray, number: int, rng: np.random.Generator) -> np.ndarray:
        """The usable rows, each as often as its origin and source say, a few row groups at a time."""
        chosen_K = np.repeat(usable_K, repeats(self.times_K[usable_K], rng))
        if not len(chosen_K) and not self.times_K[usable_K].any():
            raise ConfigError("every row that has a weight is repeated 0 times; change 'stream.repeat'")
        return number * len(self.index) + chosen_K[by_groups(self.group_K[chosen_K], self.config.buffer, rng)]

    def batches(self, draws: Iterable[np.ndarray]) -> Iterator[Batch]:
        """The readable rows of each draw.

        Raises:
            ShardError: no row of a draw can be read, or a shard changed.
        """
        return map(self._encode, load(self.rows, draws, self.config.workers))

    def _encode(self, examples: list[Example]) -> Batch:
        good = [example for example in examples if not example.problem]
        bad = [example for example in examples if example.problem]
        names = self._facts("sample_id", np.array([example.index for example in bad], np.int64))
        self.skipped.update(zip(names, (example.problem for example in bad), strict=True))
        if not good:
            raise ShardError(
                f"no row of a batch can be read; sample {names[0]}: {bad[0].problem}; label the part again"
            )
        images, index_B = [example.image_HWC for example in good], np.array([example.index for example in good])
        kept = None if self.cache is None else self.cache.embed(images, self._facts("image_sha", index_B))
        encoded, side = self.model.encode(images, kept), self.model.side
        frames = encoded.frames
        masks = [place(example.mask_HW, frame, side) for example, frame in zip(good, frames, strict=True)]
        return Batch(
            index_B=index_B,
            encoded=encoded,
            instructions=self._facts("instruction", index_B),
            target_BHW=torch.from_numpy(np.stack(masks)).float() / 255,
            valid_BHW=torch.stack([valid_mask(frame, side) for frame in frames]),
        )

    def _facts(self, column: str, index_B: np.ndarray) -> list[Any]:
        return self.index.facts[column].take(pa.array(index_B)).to_pylist()


def _times(index: ShardIndex, repeat: Mapping[str, float]) -> np.ndarray:
    """How often each row comes in an epoch, times_K."""
    source_K = index.words("source")
    if unknown := set(repeat) - {"human", "machine", *source_K}:
        raise ConfigError(
            f"'stream.repeat' names {sorted(unknown)}; choose from human, machine, {', '.join(sorted(set(source_K)))}"
        )
    origin_K = np.where(index.human_K, float(repeat.get("human", 1)), float(repeat.get("machine", 1)))
    return origin_K * np.array([float(repeat.get(source, 1)) for source in source_K])
