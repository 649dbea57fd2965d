from pathlib import Path

import ivm_data.zoo
from ivm_data.experts.common.protocols import Detection
from ivm_data.zoo.training import scenes
from ivm_data.zoo.training.end_to_end import best, score_together
from storage.records import Box

WEIGHTS = Path(ivm_data.zoo.__file__).parent / "weights"


def test_the_committed_experts_together_find_and_cut_out_most_targets(tmp_path, monkeypatch):
    monkeypatch.setattr(scenes, "CHUNK", 40)
    scores = score_together(WEIGHTS / "grounder", WEIGHTS / "segmenter", 40, cache_dir=tmp_path)
    assert scores["attribute mIoU"] > 0.6 and scores["two_targets mIoU"] > 0.6
    assert scores["relation mIoU"] < scores["attribute mIoU"]


def test_the_best_detection_of_each_phrase_is_its_first():
    row = [Detection(phrase, Box(0, 0, 1, 1), score) for phrase, score in (("a", 0.9), ("b", 0.8), ("a", 0.7))]
    assert [(d.phrase, d.score) for d in best(("b", "a", "c"), row)] == [("b", 0.8), ("a", 0.9)]
