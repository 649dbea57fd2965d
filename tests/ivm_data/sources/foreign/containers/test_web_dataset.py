import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from ivm_data.sources.foreign.common.manifest_writer import write_manifest
from ivm_data.sources.foreign.readers import read
from ivm_data.sources.manifest import plan, read_part
from storage.errors import ConfigError
from storage.pixels import rle

MASK = np.zeros((48, 64), bool)
MASK[4:20, 8:30] = True


def png(values):
    stream = io.BytesIO()
    Image.fromarray(np.asarray(values)).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def shard(tmp_path, draw):
    """Writes a tar of samples, each a dict of extension -> bytes or JSON; returns its outcomes."""
    data = (draw("a.png") / "a.png").read_bytes()

    def shard(*samples, name="shard-000000.tar", **options):
        with tarfile.open(tmp_path / name, "w") as tar:
            for number, sample in enumerate(samples):
                for extension, value in ({"png": data} | sample).items():
                    content = value if isinstance(value, bytes) else json.dumps(value).encode()
                    info = tarfile.TarInfo(f"s/{number:04d}.{extension}")
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
        out = tmp_path / "out" / "m.jsonl"
        write_manifest(read("webdataset", {"shards": str(tmp_path / name)} | options), out, "web")
        return [outcome for part in plan(out) for outcome in read_part(part)]

    return shard


RUNS = {"size": [48, 64], "counts": rle.encode(MASK).counts.decode()}
NONE = {"size": [48, 64], "counts": rle.encode(MASK & False).counts.decode()}


@pytest.mark.parametrize(
    ("sample", "area"),
    [
        ({"json": {"instruction": "Find it."}}, None),
        ({"json": {"instruction": "Find it.", "mask_rle": RUNS}}, 352),
        ({"json": {"instruction": "Find it.", "targets": [{"mask_rle": RUNS}]}}, 352),
        ({"json": {"instruction": "Find it.", "targets": []}}, 0),
        ({"json": {"instruction": "Find it.", "mask_rle": NONE, "mask_by": "engine"}}, 0),
        ({"txt": b"\xef\xbb\xbfFind it.\n", "mask.png": png(MASK)}, 352),
    ],
)
def test_a_sample_is_a_pair_with_what_its_json_or_its_mask_says(sample, area, shard):
    (found,) = shard(sample)
    assert found.instruction == "Find it." and found.image_uri.startswith("images/")
    assert (None if found.human_mask is None else rle.area(found.human_mask)) == area


def test_the_keys_of_our_manifest_are_read(shard):
    words = {"kind": "one", "difficulty": "hard", "source": "mine", "held_out": "true"}
    (found,) = shard({"json": {"instruction": "Find it."} | words})
    assert (found.kind, found.difficulty, found.source, found.held_out) == ("one", "hard", "mine", True)
    (held,) = shard({"json": {"instruction": "Find it."}}, held_out=True)
    assert held.held_out


def test_masks_of_others_that_are_black_do_not_say_that_nothing_is_there(shard):
    facts = {"instruction": "Find it."}
    outcomes = shard(
        {"json": facts, "mask.png": png(MASK & False)}, {"json": {**facts, "instruction": "2.", "mask_rle": NONE}}
    )
    assert [outcome.reason for outcome in outcomes] == ["bad_human_mask"] * 2


@pytest.mark.parametrize(
    ("sample", "why"),
    [
        ({"json": {"text": "x"}}, "no instruction"),
        ({"json": b"{"}, "Expecting"),
        ({"json": [1]}, "must be an object"),
        ({"json": {"instruction": "x", "heldout": True}}, "looks like 'held_out'"),
        ({"json": {"instruction": "x", "held_out": "perhaps"}}, "must be true or false"),
        ({"json": {"instruction": "x", "targets": "all"}}, "'targets' must be a list"),
        ({"json": {"instruction": "x"}, "png": b""}, "it has no image"),
        ({"txt": b"\xff\xfe\xff"}, "codec"),
    ],
)
def test_a_sample_that_cannot_be_used_is_a_bad_record(sample, why, shard):
    bad, good = shard(sample, {"json": {"instruction": "Find it."}})
    assert bad.reason == "bad_source_record" and why in bad.detail
    assert "shard-000000.tar: s/0000" in bad.detail
    assert good.instruction == "Find it."


def test_folders_and_patterns_of_shards_are_read_in_order(shard, tmp_path):
    for number in (1, 0):
        shard({"json": {"instruction": f"Find {number}."}}, name=f"shard-{number:06d}.tar")
    for shards in (tmp_path, tmp_path / "shard-*.tar"):
        assert [pair.instruction for pair in read("webdataset", {"shards": str(shards)})] == ["Find 0.", "Find 1."]


def test_names_are_never_commands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for shards in ("pipe:touch broken.tar", "pipe:touch{0..1}.tar", "http://127.0.0.1:9/x.tar"):
        with pytest.raises(ConfigError, match="set shards to one"):
            list(read("webdataset", {"shards": shards}))
    (tmp_path / "pipe:touch hacked;.tar").write_bytes(b"")
    with pytest.raises(ConfigError, match="cannot be read as a tar"):
        list(read("webdataset", {"shards": "pipe:touch hacked;.tar"}))
    assert not (tmp_path / "hacked").exists()


@pytest.mark.parametrize("data", [b"no tar at all" * 100, b""])
def test_a_file_that_is_no_tar_is_a_configuration_error(data, tmp_path):
    (tmp_path / "x.tar").write_bytes(data)
    with pytest.raises(ConfigError, match="cannot be read as a tar"):
        list(read("webdataset", {"shards": str(tmp_path / "x.tar")}))
