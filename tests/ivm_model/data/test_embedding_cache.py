import numpy as np
import pytest
import torch

from ivm_model.data.augment import AugmentConfig
from ivm_model.data.embedding_cache import EmbeddingCache
from ivm_model.data.examples import FeedConfig
from ivm_model.data.features import encode_rows
from ivm_model.data.feed import Feed
from storage.errors import ConfigError, IvmWarning


@pytest.fixture
def cache(model, tmp_path) -> EmbeddingCache:
    return EmbeddingCache(tmp_path / "cache", model)


def files(cache):
    return sorted(cache.folder.rglob("*.npy"))


def test_kept_embeddings_are_those_that_are_made_and_sam_runs_once(model, rows, cache, monkeypatch):
    plain = encode_rows(model, rows.train[:6])
    first = encode_rows(model, rows.train[:6], cache=cache)
    monkeypatch.setattr(model, "embed", None)
    again = encode_rows(model, rows.train[:6], cache=cache)
    for features in (first, again):
        assert torch.equal(features.encoded.sam_BCHW, plain.encoded.sam_BCHW)
        assert features.encoded.placements == plain.encoded.placements
    assert len(files(cache)) == len({row.image_sha for row in rows.train[:6]})


def test_the_price_is_said_before_and_is_what_the_files_take(model, index, cache):
    price = 4224 * len(index)
    with pytest.warns(IvmWarning, match=f"will take {price:,} bytes"):
        Feed(model, index, FeedConfig(workers=0), 0, cache=cache)
    assert sum(path.stat().st_size for path in files(cache)) == price
    assert cache.price([path.stem for path in files(cache)]) == 0


def test_a_full_disk_is_refused_before_anything_is_encoded(model, index, cache, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    monkeypatch.setattr(model, "encode", None)
    with pytest.raises(ConfigError, match="where 1,000 are free"):
        Feed(model, index, FeedConfig(workers=0), 0, cache=cache)


def test_augmented_images_and_kept_embeddings_exclude_each_other(model, index, cache):
    with pytest.raises(ConfigError, match=r"set 'embeddings' or 'feed\.augment', not both"):
        Feed(model, index, FeedConfig(augment=AugmentConfig(flip=0.5)), 0, cache=cache)


def test_a_torn_file_is_made_again(model, rows, cache):
    encode_rows(model, rows.train[:2], cache=cache)
    path = files(cache)[0]
    path.write_bytes(path.read_bytes()[:200])
    again = encode_rows(model, rows.train[:2], cache=cache)
    # Not to the bit: now one image is encoded alone that was encoded beside another.
    torch.testing.assert_close(
        again.encoded.sam_BCHW, encode_rows(model, rows.train[:2]).encoded.sam_BCHW, rtol=1e-3, atol=1e-3
    )
    assert np.load(path).shape == cache.shape


def test_embeddings_of_another_precision_are_near_and_lie_apart(model, rows, cache, tmp_path):
    images = [np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)]
    exact = cache.embed(images, ["aa"])
    model.sam_dtype = "bfloat16"
    rounded = EmbeddingCache(tmp_path / "cache", model)
    found = rounded.embed(images, ["aa"])
    assert rounded.folder != cache.folder and model.embed(images).dtype == torch.float32
    assert 0 < (found.float() - exact.float()).abs().max() < 0.05 * exact.float().abs().max()
