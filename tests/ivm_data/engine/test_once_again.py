"""Pairs that were rejected are labeled again where that is asked for, and no others."""

import pytest

from ivm_data.engine.outcomes import manifest_counts
from ivm_data.engine.pipeline import STAGES
from storage.errors import ConfigError
from storage.upkeep.compact import compact


def silent(labelers, labeler, photos, records):
    """The rewriter is silent on ring 1 while all is labeled for the first time."""
    labeler.silent = {"Find ring 1."}
    manifest = labelers.write_manifest(photos, records)
    assert labeler.label(manifest) == 10
    assert list(labelers.counted(labeler.data).values()).count("not_rewritten") == 5
    return manifest


@pytest.mark.parametrize("again", ["not_rewritten", "STAGE:rewrite"])
def test_again_labels_what_was_rejected_so_and_nothing_else(photos, labelers, labeler, records, again):
    manifest = silent(labelers, labeler, photos, records)
    assert labeler.label(manifest) == 0
    labeler.silent = set()
    assert labeler.label(manifest, again=(again,)) == 5
    ended = labelers.counted(labeler.data)
    assert (len(ended), "not_rewritten" in ended.values()) == (10, False)
    assert labeler.label(manifest, again=(again,)) == 0
    assert labeler.label(manifest) == 0
    assert labelers.sql(labeler.data, "SELECT count(*) AS n FROM rejections") == [{"n": 0}]
    compact(labeler.data)
    assert labelers.counted(labeler.data) == ended


def test_again_asks_anew_from_the_stage_on_that_rejected(photos, labelers, labeler, records):
    manifest = silent(labelers, labeler, photos, records)
    assert labeler.prepare(manifest, again=("not_rewritten",)).anew == {*STAGES}
    assert labeler.prepare(manifest, again=("ok",)).anew == set()
    assert labeler.prepare(manifest, again=("ok", "not_rewritten")).anew == {*STAGES}
    assert labeler.prepare(manifest).anew == set()


def test_again_goes_on_where_it_was_killed_and_may_be_asked_for_again(photos, labelers, labeler, records):
    manifest = silent(labelers, labeler, photos, records)
    run = labeler.prepare(manifest, again=("not_rewritten",))
    labeler.part(run, run.parts[0])
    done = labeler.asked.total() - 10
    assert 0 < done < 5
    assert labeler.label(manifest, again=("not_rewritten",)) == 5 - done
    assert labeler.label(manifest, again=("not_rewritten",)) == 5
    labeler.silent = set()
    assert labeler.label(manifest, 64, again=("not_rewritten",)) == 5
    assert "not_rewritten" not in labelers.counted(labeler.data).values()


def test_again_of_a_data_set_without_inputs(photos, labelers, labeler, records):
    labeler.silent = {"Find ring 1."}
    manifest = labelers.write_manifest(photos, records)
    labeler.label(manifest, old=True)
    labeler.silent = set()
    assert labeler.label(manifest, again=("not_rewritten",)) == 5
    assert labeler.label(manifest) == 0
    assert "not_rewritten" not in labelers.counted(labeler.data).values()


def test_an_image_that_was_missing_is_labeled_when_it_is_asked_for_again(photos, labelers, labeler, records):
    kept = (photos / "2.png").read_bytes()
    (photos / "2.png").unlink()
    manifest = labelers.write_manifest(photos, records)
    assert labeler.label(manifest) == 8
    (photos / "2.png").write_bytes(kept)
    assert labeler.label(manifest) == 0
    # In an edited manifest too, in which the record is another one by number.
    manifest = labelers.write_manifest(photos, records[3:])
    assert labeler.label(manifest, again=("image_missing",)) == 2
    ended = labelers.counted(labeler.data)
    assert (len(ended), "image_missing" in ended.values()) == (10, False)
    assert manifest_counts(labeler.prepare(manifest)).bad_inputs == 0


def test_an_unknown_reason_or_stage_is_refused_with_those_that_occur(photos, labelers, labeler, records):
    manifest = silent(labelers, labeler, photos, records)
    with pytest.raises(ConfigError, match=r"no reason 'not_writen'.* is: not_rewritten, ok"):
        labeler.prepare(manifest, again=("not_writen",))
    with pytest.raises(ConfigError, match=r"no stage 'rewritten'.* is: rewrite$"):
        labeler.prepare(manifest, again=("STAGE:rewritten",))
