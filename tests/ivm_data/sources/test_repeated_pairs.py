import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivm_data.sources.repeated_pairs import UNLABELED, label_hash, settle

A, B = 11, 12


def settled(*records):
    """ "counts", "duplicate" or "conflict" for each (key, label, held out)."""
    key_N, label_N, held_out_N = zip(*records, strict=True)
    verdicts = settle(np.array(key_N, np.uint64), np.array(label_N, np.uint64), np.array(held_out_N, bool))
    pairs = zip(verdicts.duplicate_N, verdicts.conflict_N, strict=True)
    return ["duplicate" if duplicate else "conflict" if conflict else "counts" for duplicate, conflict in pairs]


@pytest.mark.parametrize(
    ("records", "verdicts"),
    [
        ([(1, A, False), (2, A, False)], ["counts", "counts"]),
        ([(1, A, False), (1, A, False)], ["counts", "duplicate"]),
        ([(1, A, False), (1, B, False)], ["conflict", "conflict"]),
        ([(1, A, False), (1, B, False), (1, A, True)], ["conflict"] * 3),
        ([(1, A, False), (1, A, True)], ["duplicate", "counts"]),
        ([(1, UNLABELED, False), (1, A, False)], ["duplicate", "counts"]),
        ([(1, A, True), (1, UNLABELED, False)], ["counts", "duplicate"]),
        ([(1, A, False), (1, UNLABELED, True)], ["conflict", "conflict"]),
        ([(1, UNLABELED, False), (1, UNLABELED, True)], ["duplicate", "counts"]),
        ([(0, A, False), (0, B, False), (1, A, False)], ["counts"] * 3),
        ([(2**64 - 1, A, False), (2**63, B, False), (2**64 - 1, A, False)], ["counts", "counts", "duplicate"]),
    ],
)
def test_which_of_the_records_of_a_pair_counts(records, verdicts):
    assert settled(*records) == verdicts


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from([UNLABELED, A, B]), st.booleans()), min_size=1, max_size=12)
)
def test_a_pair_has_one_record_that_counts_or_none_and_never_a_trained_one_beside_a_held_out_one(records):
    verdicts = settled(*records)
    for key in {key for key, _, _ in records} - {0}:
        group = [(record, verdict) for record, verdict in zip(records, verdicts, strict=True) if record[0] == key]
        counting = [record for record, verdict in group if verdict == "counts"]
        assert len(counting) == (0 if any(verdict == "conflict" for _, verdict in group) else 1)
        if any(held_out for (_, _, held_out), _ in group):
            assert all(held_out for _, _, held_out in counting)


SQUARE = {"polygons": [[20, 20, 60, 20, 60, 60]]}


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ([SQUARE], [{"polygons": [[20.0, 20.0, 60.0, 20.0, 60.0, 60.0]], "phrase": "a cup"}], True),
        ([SQUARE, {"box": [1, 2, 3, 4]}], [{"box": [1, 2, 3, 4.0]}, SQUARE], True),
        ([SQUARE], [SQUARE, SQUARE], True),
        ([SQUARE], [SQUARE | {"size": [3, 4]}], False),
        ([SQUARE], [{"polygons": [[20, 20, 60, 20, 60, 61]]}], False),
        ([SQUARE], [{"polygons": [[20, 20], [60, 20, 60, 60]]}], False),
        ([], [SQUARE], False),
        ([], None, False),
        ("text", ["text"], True),
        ([{"mask_rle": {"size": [1, 2], "counts": "x"}}], [{"mask_rle": {"size": [1, 2], "counts": "y"}}], False),
        ([{"polygons": {"a": [1, None, "x"]}}], [{"polygons": {"a": [1, None, "x"]}}], True),
    ],
)
def test_labels_are_equal_that_say_the_same(one, other, equal):
    assert (label_hash(one, None) == label_hash(other, None)) is equal


def test_a_mask_is_a_target_like_others():
    runs = {"size": [1, 2], "counts": [2]}
    assert label_hash(None, runs) == label_hash([{"mask_rle": runs}], None)
    assert label_hash(None, "a.png") == label_hash([{"mask": "a.png"}], None)
    assert label_hash(None, None, [SQUARE]) == UNLABELED
    assert label_hash([SQUARE], None, [SQUARE]) != label_hash([SQUARE], None)
