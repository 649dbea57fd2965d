import numpy as np
import pytest
import torch

from ivm_model.data.embedding_cache import EmbeddingCache
from ivm_model.data.features import encode_rows
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
        assert features.encoded.frames == plain.encoded.frames
    assert len(files(cache)) == len({row.image_key for row in rows.train[:6]})


def test_the_price_is_said_before_and_is_what_the_files_take(model, rows, cache):
    with pytest.warns(IvmWarning, match=r"will take 25,344 bytes"):
        encode_rows(model, rows.train[:6], cache=cache)
    assert sum(path.stat().st_size for path in files(cache)) == 25_344
    assert cache.price([path.stem for path in files(cache)]) == 0


def test_a_full_disk_is_refused_before_anything_is_encoded(model, rows, cache, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    monkeypatch.setattr(model, "encode", None)
    with pytest.raises(ConfigError, match="where 1,000 are free"):
        encode_rows(model, rows.train[:6], cache=cache)


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
