import io

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ivm_data.quality import cleaning
from ivm_data.quality.measures import add_evaluation, measure
from ivm_data.quality.rules import RULES
from ivm_model.data.training_index import index_rows
from ivm_model.data.training_rows import RowsConfig
from storage.catalog import Catalog
from storage.data_set import DataSet
from storage.errors import ConfigError
from storage.parts.shards import write_measures
from storage.records import Box, image_sha
from storage.upkeep.compact import compact

DATA = RowsConfig(test_share=0.0)


@pytest.fixture
def sound(make):
    """Forty labels without a fault."""
    return [make(f"thing {'abcdefghij'[i % 10] * (1 + i // 10)}") for i in range(40)]


def names(data, rule, **values):
    """Last words of the instructions that a rule finds."""
    found = cleaning.preview(data, rule, values).found
    with Catalog(data) as catalog:
        words = dict(zip(*catalog.sql("SELECT sample_id, instruction FROM labels").to_pydict().values(), strict=True))
    return sorted(words[one.sample_id].removeprefix("Find ").removesuffix(".") for one in found)


def scattered():
    mask_HW = np.zeros((64, 64), bool)
    mask_HW[::6, ::6] = True
    return mask_HW


def dot():
    mask_HW = np.zeros((64, 64), bool)
    mask_HW[3, 3] = True
    return mask_HW


def test_each_rule_about_masks_finds_the_label_with_its_fault_and_no_sound_one(make, commit, sound):
    data = commit([
        *sound,
        make("a dot", dot()),
        make("everything", np.ones((64, 64), bool)),
        make("confetti", scattered()),
        make("elsewhere", box=Box(50, 50, 60, 60)),
        make("shaky", stability=0.5),
        make("unlikely", predicted_iou=0.3),
        make("not kept", p_yes_kept=0.1),
        make("left over", p_yes_complement=0.9),
    ])  # fmt: skip
    measure(data)
    assert names(data, "area_outlier") == ["a dot", "everything"]
    assert names(data, "full_frame") == ["everything"]
    assert names(data, "fragmented") == ["confetti"]
    assert names(data, "box_mask_disagreement") == ["elsewhere"]
    assert names(data, "unstable") == ["shaky", "unlikely"]
    assert names(data, "verifier_contradiction") == ["left over", "not kept"]
    assert names(data, "verifier_contradiction", kept="0") == ["left over"]


def test_near_duplicates_are_found_and_the_first_image_stays(make, commit, sound):
    from_conftest = make("a picture").sample.image
    again = _saved_again(from_conftest)
    data = commit([*sound, make("a picture"), make("a copy", image=again), make("asked twice", image=from_conftest)])
    measure(data)
    found = names(data, "near_duplicate_images")
    assert found in (["a copy"], ["a picture", "asked twice"])


@pytest.mark.parametrize("bits", [0, 1, 2, 5])
def test_near_duplicates_and_leaks_are_those_that_a_comparison_of_every_two_images_finds(make, commit, build, bits):
    rng = np.random.default_rng(bits)
    labels = [make(f"thing {i}", held_out=i % 7 == 0, human=dot() if i % 5 == 0 else None) for i in range(60)]
    seeds = rng.integers(0, 2**64, 12, dtype=np.uint64).tolist()
    hashes = [seeds[i % 12] ^ sum(1 << int(bit) for bit in rng.choice(64, i % 4, replace=False)) for i in range(60)]
    data = commit(labels)
    measure(data)
    (kept,) = (data / "measures" / build.RECIPE).iterdir()
    rows = pq.read_table(kept).to_pylist()
    hash_of = {row["sample_id"]: hashes[i] for i, row in enumerate(rows)}
    write_measures(data, build.RECIPE, DataSet.open(data).parts(kept), [
        row | {"image_hash": hash_of[row["sample_id"]]} for row in rows
    ])  # fmt: skip

    def rank(label):
        return 0 if label.sample.held_out else 1 if label.sample.human_mask else 2, image_sha(label.sample.image)

    def near(label, others):
        known = hash_of[label.sample.id]
        distances = [(known ^ hash_of[other.sample.id]).bit_count() for other in others]
        return min((d for d in distances if d <= bits), default=None)

    training = [label for label in labels if not label.sample.held_out]
    earlier = {one.sample.id: near(one, [o for o in labels if rank(o) < rank(one)]) for one in training}
    held_out = {one.sample.id: near(one, [o for o in labels if o.sample.held_out]) for one in training}
    with Catalog(data) as catalog:
        for rule, expected in (("near_duplicate_images", earlier), ("split_leakage", held_out)):
            query = cleaning.rule(rule).query
            found = catalog.sql(query.sql, **query.bind({"bits": bits})).to_pylist()
            assert {row["sample_id"]: row["value"] for row in found} == {
                k: v for k, v in expected.items() if v is not None
            }
            assert len(found) == len({row["sample_id"] for row in found})


def test_an_image_with_a_human_mask_stays_whichever_of_the_copies_it_is(make, commit):
    image = make("a picture").sample.image
    for index, (first, second) in enumerate(((image, _saved_again(image)), (_saved_again(image), image))):
        human = make("drawn", image=second, human=scattered())
        data = commit([make("plain", image=first), human], f"part-{index}").rename(f"{commit([]).parent}/{index}")
        measure(data)
        assert names(data, "near_duplicate_images") == ["plain"]


def test_one_instruction_in_other_letters_is_a_duplicate(make, commit):
    image = make("a picture").sample.image
    texts = ("Find the cup.", "find the  CUP", "Find the plate.")
    data = commit(
        [*(make("x", image=image, instruction=text) for text in texts), make("y", instruction="Find the cup.")]
    )
    measure(data)
    found = cleaning.preview(data, "duplicate_instructions").found
    assert [one.reason for one in found] == ["wording 2 of one instruction on one image"]


def test_a_training_image_that_is_held_out_elsewhere_or_in_an_evaluation_set_is_found(make, commit, sound, tmp_path):
    shown, listed = make("shown").sample.image, make("listed").sample.image
    data = commit([
        *sound,
        make("exam", image=_saved_again(shown), human=scattered(), held_out=True),
        make("shown"),
        make("listed"),
    ])  # fmt: skip
    measure(data)
    assert names(data, "split_leakage") == ["shown"]
    (tmp_path / "exam" / "deep").mkdir(parents=True)
    (tmp_path / "exam" / "deep" / "1.jpg").write_bytes(_saved_again(listed))
    (tmp_path / "exam" / "notes.txt").write_text("no image")
    assert add_evaluation(data, tmp_path / "exam") == 1
    assert names(data, "split_leakage") == ["listed", "shown"]
    (tmp_path / "none").mkdir()
    with pytest.raises(ConfigError, match="no readable image in"):
        add_evaluation(data, tmp_path / "none")


def test_what_is_applied_does_not_train_until_it_is_undone(make, commit, sound):
    data = commit([*sound, make("everything", np.ones((64, 64), bool))])
    measure(data)
    whole = index_rows(data, DATA).content_hash
    seen = cleaning.preview(data, "full_frame")
    assert seen.by_source.to_pylist()[0]["found"] == 1 and seen.examples["instruction"].to_pylist() == [
        "Find everything."
    ]
    assert index_rows(data, DATA).content_hash == whole
    assert [cleaning.apply(data, seen, "ada") for _ in range(2)] == [1, 0]
    assert len(index_rows(data, DATA).machine) == len(sound)
    (listed,) = [one for one in cleaning.overview(data) if one.rule.name == "full_frame"]
    assert (listed.found, listed.excluded) == (1, 1)
    assert [cleaning.undo(data, "full_frame", "ada") for _ in range(2)] == [1, 0]
    assert index_rows(data, DATA).content_hash == whole
    assert seen.found[0].reason == "covers 100.0% of the image, limit 95%"


def test_a_rule_about_masks_spares_a_human_mask_and_one_about_samples_does_not(make, commit, sound):
    image = make("a picture").sample.image
    drawn = make("drawn", np.ones((64, 64), bool), human=scattered())
    twice = [make("x", image=image, instruction=text, human=scattered()) for text in ("the cup", "The cup!")]
    data = commit([*sound, drawn, *twice])
    measure(data)
    for rule in ("full_frame", "duplicate_instructions"):
        cleaning.apply(data, cleaning.preview(data, rule), "ada")
    rows = index_rows(data, DATA)
    assert drawn.sample.id in rows.words("sample_id")[rows.human]
    assert len(rows.human) == 2 and len(rows.machine) == len(sound)


def test_measuring_again_does_nothing_and_a_compaction_keeps_what_was_measured(make, commit, sound):
    data = commit(sound[:20], "part-a")
    assert measure(data) == 1
    commit(sound[20:], "part-b")
    assert (measure(data), measure(data)) == (1, 0)
    compact(data)
    assert measure(data) == 0
    with Catalog(data) as catalog:
        assert catalog.sql("SELECT count(*) AS n FROM measures")["n"].to_pylist() == [40]
        assert catalog.problems == ()


def test_an_unknown_rule_or_parameter_is_reported_with_the_known_ones(commit, sound):
    data = commit(sound[:2])
    with pytest.raises(ConfigError, match="no rule 'area'; the rules are: area_outlier, full_frame"):
        cleaning.preview(data, "area")
    with pytest.raises(ConfigError, match="query 'full_frame' has no parameter 'z'"):
        cleaning.preview(data, "full_frame", {"z": 3})


def test_every_rule_says_what_it_finds_and_runs_on_an_empty_data_set(tmp_path):
    assert [one.found for one in cleaning.overview(tmp_path)] == [0] * len(RULES)
    assert all(rule.query.description.endswith(".") for rule in RULES)


def _saved_again(image):
    """The same picture, coded a little coarser."""
    stream = io.BytesIO()
    Image.open(io.BytesIO(image)).save(stream, format="JPEG", quality=88)
    return stream.getvalue()
