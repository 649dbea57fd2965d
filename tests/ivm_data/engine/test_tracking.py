"""Key frames and what is carried from them, with optical flow and drafts that are made by hand."""

import io
import math
import tracemalloc
from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image

from ivm_data.engine.tracking import Tracks
from ivm_data.experts.common.protocols import Segmentation
from ivm_data.experts.registry import ExpertSpec, get
from ivm_data.recipes.labeling_recipes import TrackConfig, recipe, with_tracker
from ivm_data.stages.stage import Draft
from storage.errors import IvmError
from storage.pixels import rle
from storage.records import Box, Candidate, Moment, Sample, Scores, sample_id
from storage.request import Request

SIZE = 64
GROUND = cv2.resize(np.random.default_rng(0).integers(0, 110, (9, 9, 3), np.uint8), (SIZE, SIZE))
THING = cv2.resize(np.random.default_rng(1).integers(150, 255, (4, 4, 3), np.uint8), (16, 16))


def truth(frame):
    mask_HW = np.zeros((SIZE, SIZE), bool)
    mask_HW[20:36, 4 + frame : 20 + frame] = True
    return mask_HW


def sample(frame, episode="toy/0", **changes):
    image_HWC = GROUND.copy()
    image_HWC[truth(frame)] = THING.reshape(-1, 3)
    stream = io.BytesIO()
    Image.fromarray(image_HWC).save(stream, "PNG")
    data, text = stream.getvalue(), f"Find the square of {episode}."
    moment = Moment(episode, "high", frame) if episode else None
    known = {"id": sample_id(data, text), "image": data, "image_uri": f"{frame}.png", "width": SIZE, "height": SIZE}
    return Sample(**known | {"instruction": text, "source": "toy", "moment": moment} | changes)


def draft(one, mask_HW):
    absent = not mask_HW.any()
    return Draft(
        sample=one,
        image_HWC=np.zeros((SIZE, SIZE, 3), np.uint8),
        request=Request.of(("square",)),
        candidates=(Candidate("dino@1", "square", "target", Box(0, 0, 9, 9), 0.7, chosen=True),),
        absent=absent,
        mask=None if absent else rle.encode(mask_HW),
        scores=Scores(grounding=0.7, presence=0.9, area_ratio=0.5),
    )


@pytest.fixture
def flow():
    return get(ExpertSpec("flow"))


def run(samples, flow, answers=None, segmenter=None, **config):
    """(drafts by frame, rejections, frames asked for in each round); `answers` are what experts say but for the truth.

    An answer is a mask, or None for a rejection.
    """
    tracks, rounds = Tracks(samples, TrackConfig(ExpertSpec("flow"), **config), flow, segmenter), []
    asked = tracks.first()
    while asked:
        rounds.append([one.moment.frame if one.moment else one.image_uri for one in asked])
        said = [(one, (answers or {}).get(one.moment.frame if one.moment else -1, "true")) for one in asked]
        true = [(one, truth(one.moment.frame if one.moment else 0)) for one in asked]
        tracks.keep(
            draft(one, mask if isinstance(answer, str) else answer)
            for (one, answer), (_, mask) in zip(said, true, strict=True)
            if answer is not None
        )
        asked = tracks.further()
    ended = list(tracks.ended())
    drafts = {one.sample.moment.frame if one.sample.moment else -1: one for found, _ in ended for one in found}
    return drafts, [one for _, lost in ended for one in lost], rounds


def iou(one, frame):
    return rle.iou(one.mask, rle.encode(truth(frame)))


def test_frames_between_key_frames_have_masks_that_are_carried_and_say_so(flow):
    samples = [sample(frame) for frame in range(21)]
    drafts, lost, rounds = run(samples[::-1], flow, every=10)
    assert rounds == [[20, 10, 0]] and not lost and sorted(drafts) == list(range(21))
    ids = {one.moment.frame: one.id for one in samples}
    for frame, one in drafts.items():
        assert iou(one, frame) > 0.8 and one.scores.consistency > 0.7
        if frame % 10 == 0:
            assert one.tracked_from == () and one.scores.area_ratio == 0.5
            continue
        before = frame // 10 * 10
        ends = [before, before + 10] if frame - before <= 5 else [before + 10, before]
        assert one.tracked_from == tuple(ids[end] for end in ends)
        assert one.scores.grounding == 0.7 and one.scores.area_ratio == rle.area(one.mask) / SIZE**2
        assert [(c.expert, c.phrase, c.chosen, c.box) for c in one.candidates] == [
            ("flow@1", "square", True, rle.bbox(one.mask))
        ]
        assert [(p.expert, p.mask) for p in one.proposals] == [("flow@1", one.mask)] and not one.unfound


def test_stills_and_a_recording_of_one_frame_pass_as_they_are(flow):
    drafts, lost, rounds = run([sample(0, ""), sample(7)], flow)
    assert rounds == [["0.png", 7]] and not lost
    assert all(one.tracked_from == () and math.isnan(one.scores.consistency) for one in drafts.values())


def test_another_instruction_camera_or_size_is_another_recording(flow):
    others = [
        {"instruction": "Find the circle."}, {"moment": Moment("toy/0", "low", 3)}, {"width": SIZE - 1},
        {"source": "other"}, {"moment": Moment("toy/1", "high", 3)},
    ]  # fmt: skip
    for number, change in enumerate(others):
        alone = replace(sample(3), id=f"{number}", **change)
        _, _, rounds = run([sample(0), sample(1), sample(2), alone, sample(4)], flow)
        assert rounds[0] == [0, 3, 4]


def test_a_frame_in_which_a_person_drew_boxes_is_a_key_frame(flow):
    samples = [sample(frame, human_boxes=(Box(0, 0, 5, 5),) if frame == 4 else ()) for frame in range(11)]
    assert run(samples, flow, every=10)[2] == [[0, 4, 10]]


def test_a_frame_in_doubt_is_asked_for_until_the_budget(flow):
    gone = np.zeros((SIZE, SIZE), bool)
    samples = [sample(frame) for frame in range(31)]
    # The thing is covered from 14 on by what looks the same as the ground: experts see that, tracks do not.
    answers = dict.fromkeys(range(14, 31), gone)
    drafts, _, rounds = run(samples, flow, answers, every=10, budget=0.3, absence=1.0)
    asked = [frame for one in rounds for frame in one]
    assert rounds[0] == [0, 10, 20, 30] and 4 < len(asked) == len(set(asked)) <= 0.3 * 31
    assert all(10 < frame < 20 for one in rounds[1:] for frame in one)
    at = [frame for frame, one in drafts.items() if one.absent]
    assert min(at) in (13, 14, 15, 16) and set(range(20, 31)) <= set(at)
    assert all(drafts[frame].mask is None and not drafts[frame].proposals for frame in at)
    assert len(run(samples, flow, answers, every=10, budget=0.0, absence=1.0)[2]) == 1


def test_a_key_frame_that_its_neighbours_contradict_has_little_consistency(flow):
    wrong = np.zeros((SIZE, SIZE), bool)
    wrong[44:60, 40:60] = True
    drafts, _, _ = run([sample(frame) for frame in range(21)], flow, {10: wrong}, every=10, budget=0.0)
    assert drafts[10].scores.consistency < 0.1 and drafts[9].scores.consistency < 0.1
    assert rle.decode(drafts[10].mask)[50, 50] and not drafts[10].tracked_from


def empty(frame):
    """A frame in which the thing is not."""
    stream = io.BytesIO()
    Image.fromarray(GROUND).save(stream, "PNG")
    return sample(frame, id=f"{frame:032x}", image=stream.getvalue())


NOTHING = np.zeros((SIZE, SIZE), bool)


def test_an_absence_that_masks_from_both_sides_contradict_is_carried_over(flow):
    samples = [sample(frame) for frame in range(21)]
    drafts, lost, rounds = run(samples, flow, {10: NOTHING}, every=10, budget=0.0)
    assert rounds == [[0, 10, 20]] and not lost
    assert drafts[10].tracked_from == (samples[0].id, samples[20].id) and not drafts[10].absent
    assert all(iou(one, frame) > 0.7 for frame, one in drafts.items())
    believed, _, _ = run(samples, flow, {10: NOTHING}, every=10, budget=0.0, absence=1.0)
    assert believed[10].absent and not believed[10].tracked_from and believed[9].absent


def test_an_absence_is_believed_where_the_thing_is_gone(flow):
    samples = [empty(frame) if 7 <= frame <= 13 else sample(frame) for frame in range(21)]
    drafts, _, _ = run(samples, flow, {10: NOTHING}, every=10, budget=0.0)
    assert drafts[10].absent and not drafts[10].tracked_from
    samples = [empty(frame) if frame > 13 else sample(frame) for frame in range(21)]
    drafts, _, _ = run(samples, flow, {20: NOTHING}, every=10, budget=0.0)
    assert drafts[20].absent and not drafts[20].tracked_from and drafts[16].absent


def test_several_absences_in_a_row_are_carried_over_together(flow):
    samples = [sample(frame) for frame in range(21)]
    drafts, _, _ = run(samples, flow, {5: NOTHING, 10: NOTHING, 20: NOTHING}, every=5, budget=0.0)
    assert [frame for frame, one in drafts.items() if not one.tracked_from] == [0, 15]
    assert all(iou(one, frame) > 0.7 for frame, one in drafts.items())


class Bright:
    """A segmenter of what is bright in a box, and how often it was asked."""

    name = "bright@1"

    def __init__(self, darkest=140):
        self.darkest, self.asked = darkest, 0

    def segment(self, images, boxes):
        self.asked += len(images)
        found = []
        for image_HWC, (box,) in zip(images, boxes, strict=True):
            inside_HW = np.zeros(image_HWC.shape[:2], bool)
            inside_HW[int(box.y0) : int(box.y1), int(box.x0) : int(box.x1)] = True
            mask_HW = inside_HW & (image_HWC.max(axis=2) >= self.darkest)
            found.append(Segmentation(mask_HW[None], np.float32([0.8]), np.float32([0.7])))
        return found


def test_carried_masks_are_refined_where_the_segmenter_sees_nearly_the_same(flow):
    samples, segmenter = [sample(frame) for frame in range(21)], Bright()
    carried, _, _ = run(samples, flow, every=10)
    refined, _, _ = run(samples, flow, segmenter=segmenter, every=10, refine=0.5)
    between = [frame for frame in range(21) if frame % 10]
    assert segmenter.asked == len(between)
    assert np.mean([iou(refined[frame], frame) for frame in between]) > np.mean([iou(carried[f], f) for f in between])
    for frame in between:
        (proposal,) = refined[frame].proposals
        assert (proposal.expert, proposal.predicted_iou) == ("flow@1+bright@1", pytest.approx(0.8))
        assert (
            proposal.mask == refined[frame].mask and refined[frame].scores.area_ratio == rle.area(proposal.mask) / 64**2
        )
    blind, _, _ = run(samples, flow, segmenter=Bright(256), every=10, refine=0.5)
    assert {frame: one.mask for frame, one in blind.items()} == {frame: one.mask for frame, one in carried.items()}
    assert (
        run(samples, flow, segmenter=(unasked := Bright()), every=10)[0].keys() == carried.keys() and not unasked.asked
    )


def test_a_key_frame_that_is_rejected_is_tracked_over_and_stays_rejected(flow):
    drafts, lost, _ = run([sample(frame) for frame in range(21)], flow, {10: None, 20: None}, every=10)
    assert not lost and sorted(drafts) == [*range(10), *range(11, 20)]
    assert math.isnan(drafts[15].scores.consistency) and drafts[15].tracked_from == (sample(0).id,)


def test_without_a_key_frame_the_others_are_rejected(flow):
    drafts, lost, _ = run([sample(frame) for frame in range(12)], flow, {0: None, 10: None, 11: None}, every=10)
    assert not drafts and [one.moment.frame for one in lost] == list(range(1, 10))
    assert {(one.stage, one.reason) for one in lost} == {("track", "no_key_frame")}
    assert "none of the 3 key frames" in lost[0].detail


def test_what_a_tracker_raises_ends_its_stretch_alone(flow):
    class Failing:
        name = "failing@1"

        def carry(self, images, mask_HW):
            if np.count_nonzero(images[0] != images[-1]) and (images[0] == images[0]).all() and mask_HW[20, 24]:
                raise RuntimeError("out of luck")
            return flow.carry(images, mask_HW)

    drafts, lost, _ = run([sample(frame) for frame in range(31)], Failing(), every=15)
    assert [one.reason for one in lost] == ["expert_failed"] * len(lost) and "out of luck" in lost[0].detail
    assert len(drafts) + len(lost) == 31 and {0, 15, 30} <= drafts.keys()

    class Away(Failing):
        def carry(self, images, mask_HW):
            raise IvmError("the server is away")

    with pytest.raises(IvmError, match="away"):
        run([sample(frame) for frame in range(12)], Away())


def test_a_recipe_that_tracks_nothing_is_the_recipe_of_before():
    plain = recipe("demo")
    assert "track" not in plain.to_dict() and "min_consistency" not in plain.to_dict()["gate"]
    assert with_tracker(plain, "") is plain
    tracking = with_tracker(recipe("demo", {"track.every": 5}), "flow?slack=2").to_dict()
    assert tracking["track"]["tracker"]["options"] == {"slack": "2"} and tracking["track"]["every"] == 5
    assert tracking["gate"]["min_consistency"] == 0.3


class Still:
    """A tracker that looks at every image, and moves nothing."""

    name = "still@1"

    def carry(self, images, mask_HW):
        return [mask_HW.copy() for image_HWC in images if image_HWC.any() or True]


def test_decoded_images_do_not_add_up_with_the_frames_of_an_episode():
    side = 256

    def peak(frames):
        samples = []
        for frame in range(frames):
            stream = io.BytesIO()
            Image.new("RGB", (side, side), (frame % 256, frame // 256, 9)).save(stream, "PNG")
            samples.append(sample(0, id=f"{frame:032x}", image=stream.getvalue(), moment=Moment("long", "high", frame)))
        samples = [replace(one, width=side, height=side) for one in samples]
        tracks = Tracks(samples, TrackConfig(ExpertSpec("flow")), Still())
        mask_HW = np.zeros((side, side), bool)
        mask_HW[9:99, 9:99] = True
        tracemalloc.start()
        tracks.keep(draft(one, mask_HW) for one in tracks.first())
        assert not tracks.further()
        drafts = [one for found, _ in tracks.ended() for one in found]
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(drafts) == frames and all(one.scores.consistency == 1 for one in drafts)
        return most

    assert peak(240) - peak(60) < 180 * side * side * 3 / 10
