import json

ROW = {
    "image": "000000085637.jpg", "image_link": "http://images.cocodataset.org/train2017/000000085637.jpg",
    "caption": "The truck is away from the elephant.", "label": 1, "relation": "away from", "annotator_id": 1,
    "vote_true_validator_id": [], "vote_false_validator_id": [2],
}  # fmt: skip


def test_true_captions_are_instructions_and_false_ones_are_not(records, write):
    false = {**ROW, "caption": "The truck is on the elephant.", "label": 0}
    lines = [json.dumps(ROW), json.dumps(false), "", "{torn", json.dumps({**ROW, "label": "yes"}), "[]"]
    pairs, bad = records("vsr", captions=write("train.jsonl", "\n".join(lines)), images="coco/train2017")
    (pair,) = pairs
    assert (pair.image, pair.kind, pair.targets) == ("coco/train2017/000000085637.jpg", "away from", None)
    assert pair.instruction == "The truck is away from the elephant."
    assert [record.where for record in bad] == [f"train.jsonl: line {number}" for number in (4, 5, 6)]
