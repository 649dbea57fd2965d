from collections import Counter
from dataclasses import replace

from flows.progress import LabelingProgress
from ivm_data.engine.part_outcomes import PartSummary


def summary(rows, **statuses):
    return PartSummary("part", rows, True, Counter(statuses))


def test_speed_and_time_left_count_only_what_this_run_labeled():
    now = [100.0]
    progress = LabelingProgress(parts=10, pairs=100, parts_before=4, pairs_before=40, clock=lambda: now[0])
    assert progress.percent == 40
    assert progress.counts()["time left"] == "unknown"
    now[0] += 20
    progress.add(summary(10, accepted=6, review=3, no_target=1))
    assert progress.percent == 50
    assert progress.pairs_per_second == 0.5
    assert progress.counts() == {
        "parts": "5/10", "pairs": "50/100", "accepted": "6", "review": "3", "rejected": "0", "no target": "1",
        "whole image": "0", "failed inputs": "0", "failed parts": "0", "pairs/s": "0.50", "time left": "0:01:40",
    }  # fmt: skip


def test_inputs_that_failed_are_counted_whatever_their_reason():
    progress = LabelingProgress(1, 4, 0, 0)
    progress.add(summary(4, **{"accepted": 1, "failed: image_missing": 2, "failed: no_box": 1}))
    assert progress.counts()["failed inputs"] == "3"
    assert progress.counts()["time left"] == "0:00:00"


def test_tokens_are_reported_where_an_endpoint_was_asked():
    progress = LabelingProgress(1, 4, 0, 0)
    assert "LMM tokens" not in progress.counts()
    progress.add(replace(summary(4, accepted=4), tokens=12_345))
    assert progress.counts()["LMM tokens"] == "12,345"
    assert "LMM cost" not in progress.counts()


def test_a_price_tells_what_was_spent_and_what_the_whole_run_will_cost():
    progress = LabelingProgress(4, 16, 1, 4, price=2.0)
    assert "LMM cost" not in progress.counts()
    progress.add(replace(summary(4, accepted=4), tokens=500_000))
    assert progress.counts()["LMM cost"] == "1.00 of about 3.00"


def test_what_earlier_runs_labeled_counts_and_is_not_taken_for_this_runs():
    progress = LabelingProgress(2, 20, 1, 10, statuses=Counter(accepted=8, **{"failed: no_box": 2}))
    progress.add(summary(10, accepted=4, review=6))
    progress.add(replace(summary(0, accepted=3), fresh=False))
    assert progress.counts()["accepted"] == "15"
    assert progress.counts()["failed inputs"] == "2"
    assert progress.accepted_now == 4


def test_episodes_are_counted_beside_their_frames():
    progress = LabelingProgress(2, 40, 0, 0, episodes={"part": 3, "other": 2})
    assert (progress.counts()["episodes"], progress.counts()["frames"]) == ("0/5", "0/40")
    progress.add(summary(24, accepted=24))
    assert (progress.counts()["episodes"], progress.counts()["frames"]) == ("3/5", "24/40")
    assert "pairs" not in progress.counts()


def test_a_failed_part_is_reported_and_is_not_done():
    progress = LabelingProgress(2, 8, 0, 0)
    progress.add_failure()
    assert progress.percent == 0
    assert "failed parts 1" in progress.line()
    assert "parts 0/2" in progress.line()


def test_a_run_with_nothing_left_to_do_is_done_from_the_start():
    progress = LabelingProgress(2, 8, 2, 8)
    assert progress.percent == 100
    assert progress.counts()["time left"] == "0:00:00"
