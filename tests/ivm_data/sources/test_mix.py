import json
from collections import Counter
from pathlib import Path

import pytest

from ivm_data.sources.manifest import plan, read_part
from ivm_data.sources.mix import MixConfig, Source, mix, parse_source
from ivm_data.worlds.world import write_world
from storage.errors import ConfigError
from storage.records import Sample


@pytest.fixture
def write(tmp_path):
    """Writes a manifest of so many lines; returns its path."""

    def write(name, number, **more):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [{"image": f"{place}.jpg", "instruction": f"{path.stem} {place}", **more} for place in range(number)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    return write


def rows_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def taken(path):
    return dict(Counter(row["source"] for row in rows_of(path)))


def test_without_a_size_the_mixture_is_as_large_as_its_shares_allow(write, tmp_path):
    sources = [Source(write("a.jsonl", 100), 0.5), Source(write("b.jsonl", 30), 0.3), Source(write("c.jsonl", 90), 0.2)]
    mixture = mix(sources, tmp_path / "out.jsonl", MixConfig())
    assert taken(tmp_path / "out.jsonl") == {"a": 50, "b": 30, "c": 20}
    assert mixture.rows[1] == (str(tmp_path / "b.jsonl"), 30, 30, pytest.approx(0.3), 30)


@pytest.mark.parametrize(
    ("caps", "size", "expected"),
    [
        ((0, 5), 0, {"a": 100, "b": 5}),
        ((20, 5), 0, {"a": 20, "b": 5}),
        ((0, 31), 0, {"a": 30, "b": 30}),
        ((0, 30), 0, {"a": 100, "b": 30}),
        ((0, 0), 20, {"a": 10, "b": 10}),
        ((0, 4), 20, {"a": 10, "b": 4}),
    ],
)
def test_a_source_stops_at_its_cap_and_the_others_go_on(write, tmp_path, caps, size, expected):
    sources = [Source(write("a.jsonl", 100), 1, caps[0]), Source(write("b.jsonl", 30), 1, caps[1])]
    mix(sources, tmp_path / "out.jsonl", MixConfig(size))
    assert taken(tmp_path / "out.jsonl") == expected


def test_the_seed_decides_which_lines_are_taken_and_order_is_kept(write, tmp_path):
    sources = [Source(write("a.jsonl", 100), 0.5), Source(write("b.jsonl", 10), 0.5)]
    texts = []
    for seed in (0, 0, 1):
        mix(sources, tmp_path / "out.jsonl", MixConfig(seed=seed))
        texts.append((tmp_path / "out.jsonl").read_text())
    assert texts[0] == texts[1] != texts[2]
    places = [int(row["image"][:-4]) for row in rows_of(tmp_path / "out.jsonl") if row["source"] == "a"]
    assert places == sorted(places) and len(set(places)) == 10


def test_every_stretch_of_the_mixture_holds_each_source_by_its_share(write, tmp_path):
    mix([Source(write("a.jsonl", 80), 4), Source(write("b.jsonl", 20), 1)], tmp_path / "out.jsonl", MixConfig())
    sources = [row["source"] for row in rows_of(tmp_path / "out.jsonl")]
    assert all(sources[start : start + 5].count("b") == 1 for start in range(0, 100, 5))


def test_no_pair_comes_twice_and_bad_lines_are_left_out(write, tmp_path):
    first, second = write("a.jsonl", 10, source="web"), tmp_path / "b.jsonl"
    decomposed = '{"image": "x.jpg", "instruction": "cafe\\u0301"}\n{"image": "x.jpg", "instruction": "caf\\u00e9 "}\n'
    second.write_text(first.read_text() + decomposed + '{"error": "bad"}\nnot json\n\n{"image": 3}\n')
    mixture = mix([Source(first, 1), Source(second, 1)], tmp_path / "out.jsonl", MixConfig())
    assert [row[1:3] for row in mixture.rows] == [(10, 10), (15, 1)]
    assert taken(tmp_path / "out.jsonl") == {"web": 1, "b": 1}


def test_a_pair_that_is_held_out_in_one_source_does_not_train_from_another(tmp_path):
    row = {"image": "x.jpg", "instruction": "Find it.", "targets": [{"box": [1, 2, 3, 4]}]}
    other = row | {"instruction": "Find that."}
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(one) + "\n" for one in (row, other)))
    (tmp_path / "test.jsonl").write_text(json.dumps(row | {"held_out": True}) + "\n")
    sources = [Source(tmp_path / "train.jsonl", 1), Source(tmp_path / "test.jsonl", 1)]
    mix(sources, tmp_path / "out.jsonl", MixConfig())
    held = {row["instruction"]: row.get("held_out", False) for row in rows_of(tmp_path / "out.jsonl")}
    assert held == {"Find it.": True, "Find that.": False}


def test_sources_that_contradict_each_other_give_neither_line(tmp_path):
    row = {"image": "x.jpg", "instruction": "Find it.", "targets": [{"box": [1, 2, 3, 4]}]}
    for name, changes in (("a", {}), ("b", {"targets": []})):
        rows = [row | changes, row | {"image": f"{name}.jpg"}, row | {"image": f"{name}.png", "heldout": True}]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    sources = [Source(tmp_path / "a.jsonl", 1), Source(tmp_path / "b.jsonl", 1)]
    assert [row[1:3] for row in mix(sources, tmp_path / "out.jsonl", MixConfig()).rows] == [(3, 1), (3, 1)]
    assert [row["image"] for row in rows_of(tmp_path / "out.jsonl")] == ["a.jpg", "b.jpg"]


def test_image_and_mask_references_are_rewritten_to_the_common_folder(write, tmp_path):
    first = write(
        "one/m.jsonl",
        2,
        mask="m.png",
        targets=[{"mask": "zip://a.png::m.zip"}, {"box": [0, 0, 1, 1]}],
        ignore=[{"mask": "i.png"}],
    )
    second = write("two/deep/n.jsonl", 2)
    mixture = mix([Source(first, 1), Source(second, 1)], tmp_path / "out" / "mixed.jsonl", MixConfig())
    assert mixture.root == tmp_path
    one, two = rows_of(tmp_path / "out" / "mixed.jsonl")[:2]
    assert (one["image"], one["mask"], one["targets"][0]["mask"]) == (
        "one/0.jpg",
        "one/m.png",
        "zip://a.png::one/m.zip",
    )
    assert one["ignore"] == [{"mask": "one/i.png"}]
    assert two["image"] == "two/deep/0.jpg"
    shared = mix(
        [Source(first, 1), Source(second, 1)], tmp_path / "mixed.jsonl", MixConfig(image_root=tmp_path / "one")
    )
    assert shared.root == tmp_path / "one" and rows_of(tmp_path / "mixed.jsonl")[0]["image"] == "0.jpg"


def test_two_worlds_mixed_are_read_from_one_root(tmp_path):
    worlds = [
        write_world(tmp_path / name, "test", scenes=2, pairs_per_scene=3, human_share=1.0, start=start)
        for name, start in (("a", 0), ("b", 50))
    ]
    mix([Source(world, 1) for world in worlds], tmp_path / "mixed.jsonl", MixConfig())
    (part,) = plan(tmp_path / "mixed.jsonl")
    found = read_part(part)
    assert len(found) == 12 and all(isinstance(sample, Sample) and sample.human_mask for sample in found)
    assert {Path(sample.image_uri).parts[0] for sample in found} == {"a", "b"}


@pytest.mark.parametrize(
    ("sources", "config", "message"),
    [
        (["a.jsonl=1", "a.jsonl=1"], {}, "given twice"),
        (["gone.jsonl=1"], {}, "must be a .jsonl file that is there"),
        (["empty.jsonl=1"], {}, "holds no pair"),
        (["a.jsonl=1"], {"size": 11}, "holds 10 usable lines, but 11"),
        (["out.jsonl=1"], {}, "is one of the sources"),
    ],
)
def test_sources_that_do_not_fit_are_refused(write, tmp_path, monkeypatch, sources, config, message):
    monkeypatch.chdir(tmp_path)
    write("a.jsonl", 10)
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(ConfigError, match=message):
        mix([parse_source(source) for source in sources], Path("out.jsonl"), MixConfig(**config))
    assert not (tmp_path / "out.jsonl").exists()


def test_a_source_is_reported_as_manifest_share_and_cap():
    assert parse_source("a=b/c.jsonl=0.5:100") == Source(Path("a=b/c.jsonl"), 0.5, 100)
    for text in ("a.jsonl", "a.jsonl=x", "a.jsonl=0", "a.jsonl=-1", "a.jsonl=nan", "a.jsonl=1:x", "a.jsonl=1:-4"):
        with pytest.raises(ConfigError):
            parse_source(text)
