"""Experts whose answers are kept, with the embedded models."""

import threading
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ivm_data.experts import registry
from ivm_data.experts.answers import codecs
from ivm_data.experts.answers.kept import KeptExpert
from ivm_data.experts.answers.question_keys import Keys
from ivm_data.experts.answers.store import AnswersConfig, AnswerStore
from ivm_data.experts.common.frame import Frame
from ivm_data.experts.common.protocols import Detection, Reply, Segmentation
from ivm_data.experts.common.usage import Usage, metered
from ivm_data.experts.registry import ExpertSpec, get, kept
from ivm_data.recipes.labeling_recipes import demo
from ivm_data.worlds.world import write_world
from storage.records import Box
from storage.request import Request, Thing

DEMO = demo()
LMM, SEGMENTER = DEMO.verifier, DEMO.segmenter


@pytest.fixture
def answers(tmp_path):
    registry.unload()
    return AnswersConfig(str(tmp_path / "answers"))


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Five scenes of the procedural world."""
    manifest = write_world(tmp_path_factory.mktemp("world"), "val", scenes=5, pairs_per_scene=1, human_share=0)
    return [np.array(Image.open(path)) for path in sorted((manifest.parent / "images").iterdir())]


def used(work):
    """What `work` gives, how many answers it read, and how many it asked for."""
    with metered() as meter:
        found = work()
    return found, meter.used.answers_read, meter.used.answers_asked


def reopened(spec, answers):
    """The expert as another process has it."""
    registry.unload()
    return kept(spec, answers)


def test_an_answer_is_asked_for_once_and_read_from_then_on_bit_for_bit(answers, images):
    questions = [f"Is there a red ring {n}?" for n in range(5)]
    plain = get(LMM).p_yes(images, questions)
    bought, *first = used(lambda: kept(LMM, answers).p_yes(images, questions))
    read, *second = used(lambda: reopened(LMM, answers).p_yes([image.copy() for image in images], questions))
    assert first == [0, 5] and second == [5, 0]
    assert plain.tobytes() == bought.tobytes() == read.tobytes()


ASK = {
    "rewrite": (LMM, lambda expert, images: expert.rewrite(["Find the red ring.", "What is left of it?"])),
    "rewrite seen": (LMM, lambda expert, images: expert.rewrite(["Find it."] * 2, images[:2])),
    "reply": (LMM, lambda expert, images: expert.reply(images[:2], ["Where is it?", "What is it?"], tokens=4)),
    "reply in words": (LMM, lambda expert, images: expert.reply(None, ["Where is it?"])),
    "ground": (
        DEMO.grounders[0],
        lambda expert, images: expert.ground(images, [["red ring", "star"], []] * 2 + [["a"]]),
    ),
}


@pytest.mark.parametrize("verb", ASK)
def test_every_verb_gives_what_the_expert_gives_whether_or_not_it_was_kept(answers, images, verb):
    spec, ask = ASK[verb]
    bought, read, asked = used(lambda: ask(kept(spec, answers), images))
    again, read_then, asked_then = used(lambda: ask(reopened(spec, answers), images))
    assert bought == again == ask(get(spec), images)
    assert (read, asked_then) == (0, 0) and read_then == asked > 0


def test_a_proposer_in_miniature_is_known_by_its_whole_call(answers, images, tiny, tmp_path):
    folder = tmp_path / "clipseg"
    folder.mkdir()
    tiny.clipseg(folder)
    spec, requests = ExpertSpec("clipseg", {"path": str(folder)}), [Request.of(("star",)), Request.of(("ring",))]
    bought, *first = used(lambda: kept(spec, answers).propose(images[:2], requests))
    again, *second = used(lambda: reopened(spec, answers).propose(images[:2], requests))
    _, *alone = used(lambda: reopened(spec, answers).propose(images[:1], requests[:1]))
    assert (first, second, alone) == ([0, 2], [2, 0], [0, 1])
    assert [(mask_HW.tobytes(), score) for mask_HW, score in bought] == [(m.tobytes(), score) for m, score in again]


def test_an_expert_over_a_segmenter_is_kept_where_the_segmenter_is():
    def together(segmenter):
        spec = ExpertSpec("sam-clip", {"path": "no/such"}, {"segmenter": segmenter})
        return registry.unloaded(spec).together("propose", [(1,), (2,)])

    assert together(SEGMENTER) == [[0, 1]]
    assert together(replace(SEGMENTER, options={**SEGMENTER.options, "images_per_batch": 2})) is None


def test_what_passes_through_a_model_together_is_known_together(answers, images):
    """The same question in other company has other last digits, and is asked again."""
    spec = replace(LMM, options={**LMM.options, "batch": 2})
    questions = ["Is there a red ring?", "Where?", "Is there a green star or a blue cross?", "Is it small?"]
    verifier = kept(spec, answers)
    verifier.p_yes(images[:4], questions)
    swapped = [0, 1, 3, 2]
    found, read, asked = used(lambda: verifier.p_yes([images[i] for i in swapped], [questions[i] for i in swapped]))
    assert (read, asked) == (2, 2)
    assert found.tobytes() == get(spec).p_yes([images[i] for i in swapped], [questions[i] for i in swapped]).tobytes()


def test_one_array_twice_is_told_from_two_equal_ones(images):
    one, other = images[0], images[0].copy()
    keys = Keys()
    same = keys.key("a", "p_yes", None, [(one, "x"), (one, "y")])
    assert same == keys.key("a", "p_yes", None, [(other, "x"), (other, "y")])
    assert same != keys.key("a", "p_yes", None, [(one, "x"), (other, "y")])


def test_every_part_of_what_is_asked_changes_its_key(images):
    box, request = Box(1, 2, 3, 4), Request((Thing("a red ring"),))
    asked = [
        ("a", "ground", None, [(images[0], ("x", "y"))]),
        ("b", "ground", None, [(images[0], ("x", "y"))]),
        ("a", "propose", None, [(images[0], ("x", "y"))]),
        ("a", "ground", [1], [(images[0], ("x", "y"))]),
        ("a", "ground", None, [(images[1], ("x", "y"))]),
        ("a", "ground", None, [(images[0].reshape(64, 256, 3), ("x", "y"))]),
        ("a", "ground", None, [(images[0], ("x",)), (images[0], ("y",))]),
        ("a", "ground", None, [(images[0], [box])]),
        ("a", "ground", None, [(images[0], [replace(box, x1=3.0000000000000004)])]),
        ("a", "ground", None, [(images[0], request)]),
        ("a", "ground", None, [(images[0], replace(request, understood=0.5))]),
    ]
    assert len({Keys().key(*one) for one in asked}) == len(asked)
    with pytest.raises(TypeError, match="object"):
        Keys().key("a", "ground", None, [(object(),)])


def test_a_segmenter_is_asked_about_the_image_whose_boxes_are_others(answers, images):
    boxes = [[Box(10, 10, 60, 60)], [Box(20, 20, 90, 80), Box(0, 0, 30, 30)], [Box(40, 5, 100, 70)]]
    kept(SEGMENTER, answers).segment(images[:3], boxes)
    boxes[1] = boxes[1][:1]
    found, read, asked = used(lambda: reopened(SEGMENTER, answers).segment(images[:3], boxes))
    assert (read, asked) == (2, 1)
    for one, other in zip(found, get(SEGMENTER).segment(images[:3], boxes), strict=True):
        assert one.mask_NHW.tobytes() == other.mask_NHW.tobytes()
        assert one.predicted_iou_N.tobytes() == other.predicted_iou_N.tobytes()
        assert one.stability_N.tobytes() == other.stability_N.tobytes()
        assert one.predicted_iou_N.dtype == other.predicted_iou_N.dtype == np.float32


def test_masks_of_images_that_are_encoded_together_are_not_kept(answers, images):
    spec = replace(SEGMENTER, options={**SEGMENTER.options, "images_per_batch": 2})
    boxes = [[Box(10, 10, 60, 60)]] * 2
    for _ in range(2):
        assert used(lambda: kept(spec, answers).segment(images[:2], boxes))[1:] == (0, 2)
    assert AnswerStore(answers).size() < 2**16


def test_an_expert_that_is_made_of_others_reads_what_they_answered(answers, images, with_everything):
    (everything,) = with_everything.proposers
    requests = [Request.of(("the red ring",)), Request.of(("the green star",))]
    plain = get(everything).propose(images[:2], requests)
    kept(everything, answers).propose(images[:2], requests)
    again, read, asked = used(lambda: reopened(everything, answers).propose(images[:2], requests))
    assert read > 2 and asked == 0
    for (mask_HW, score), (other_HW, other) in zip(plain, again, strict=True):
        assert mask_HW.tobytes() == other_HW.tobytes() and score == other
    changed = [requests[0], Request.of(("the blue cross",))]
    _, still_read, asked = used(lambda: reopened(everything, answers).propose(images[:2], changed))
    assert 0 < asked < read and still_read == read - asked


def test_an_expert_is_loaded_when_it_is_asked_what_is_not_known(answers, images):
    kept(LMM, answers).p_yes(images[:1], ["Is it red?"])
    verifier = reopened(LMM, answers)
    assert verifier.p_yes(images[:1], ["Is it red?"]).shape == (1,)
    assert loaded(LMM) is None
    verifier.p_yes(images[:1], ["Is it blue?"])
    assert loaded(LMM) is not None


def test_an_expert_of_which_nothing_is_kept_is_loaded_at_once(answers):
    kept(LMM, answers)
    assert loaded(LMM) is not None


def loaded(spec):
    """The loaded expert of this process, if there is one."""
    return registry._loaded.get(registry._key(spec))


def test_other_weights_options_and_threads_are_another_expert(answers, tmp_path):
    import torch

    known = registry.answers_of
    kept(SEGMENTER, answers).segment([np.zeros((128, 128, 3), np.uint8)], [[Box(1, 1, 9, 9)]])
    assert known(SEGMENTER, answers) == 1
    assert known(replace(SEGMENTER, options={**SEGMENTER.options, "stability_offset": 0.5}), answers) == 0
    assert known(LMM, answers) == 0
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(threads + 1)
        assert known(SEGMENTER, answers) == 0
    finally:
        torch.set_num_threads(threads)
    assert known(SEGMENTER, None) == 0


def test_what_is_asked_anew_takes_the_place_of_what_was_kept(answers, images):
    kept(LMM, answers).p_yes(images[:1], ["Is it red?"])
    assert used(lambda: kept(LMM, answers, anew=True).p_yes(images[:1], ["Is it red?"]))[1:] == (0, 1)
    assert used(lambda: kept(LMM, answers).p_yes(images[:1], ["Is it red?"]))[1:] == (1, 0)


def test_threads_share_an_expert_and_its_answers(answers, images):
    found = {}
    verifier = kept(LMM, answers)

    def ask(n):
        found[n] = verifier.p_yes(images, [f"Is it {n % 3}?"] * 5).tobytes()

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6 and all(found[n] == found[n + 3] for n in range(3))


FLOATS = st.floats(allow_nan=False)
NUMBERS = st.floats(width=32, allow_nan=False, allow_infinity=False)


@settings(deadline=None)
@given(st.lists(st.tuples(st.text(), st.tuples(FLOATS, FLOATS, FLOATS, FLOATS), FLOATS)))
def test_detections_come_back_number_for_number(rows):
    found = [Detection(phrase, Box(*sides), score) for phrase, sides, score in rows]
    assert codecs.DETECTIONS.decode(codecs.DETECTIONS.encode([found])) == [found]


def test_numbers_of_numpy_are_kept_as_the_same_numbers():
    found = [Detection("a", Box(np.int64(1), np.int64(2), np.float32(0.1), np.float64(0.1)), np.float32(0.3))]
    (back,) = codecs.DETECTIONS.decode(codecs.DETECTIONS.encode([found]))
    assert back == found and type(back[0].score) is float
    with pytest.raises(TypeError, match="set in an answer"):
        codecs.DETECTIONS.encode([[Detection("a", Box(0, 0, 1, 1), {1})]])


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(0, 3), st.integers(0, 2**31), NUMBERS)))
def test_masks_and_their_scores_come_back_bit_for_bit(rows):
    made = []
    for height, width, count, seed, score in rows:
        mask_NHW = np.random.default_rng(seed).random((count, height, width)) < 0.5
        made.append(Segmentation(mask_NHW, np.full(count, score, np.float32), np.full(count, score, np.float32)))
    for one, other in zip(made, codecs.SEGMENTATION.decode(codecs.SEGMENTATION.encode(made)), strict=True):
        assert one.mask_NHW.shape == other.mask_NHW.shape and one.mask_NHW.dtype == other.mask_NHW.dtype
        assert one.mask_NHW.tobytes() == other.mask_NHW.tobytes()
        assert one.predicted_iou_N.tobytes() == other.predicted_iou_N.tobytes()


def test_requests_and_replies_come_back_whole():
    request = Request(
        (Thing("the red ring", "ring", 2, "left", 3, True, 2), Thing("a\nstar", of=0, relation="left of")),
        understood=0.1 + 0.2, answer="{é}", notes=("read so", "and so"),
    )  # fmt: skip
    whole = Request(scope="whole image")
    assert codecs.REQUEST.decode(codecs.REQUEST.encode([request, whole])) == [request, whole]
    replies = [Reply("a", True, Frame((4, 5), (6, 7), (0.1, 1.0), (0.5, 0))), Reply("b")]
    back = codecs.REPLY.decode(codecs.REPLY.encode(replies))
    assert back == replies and hash(back[0].frame) == hash(replies[0].frame)


def test_a_kept_expert_says_what_it_is(answers):
    expert = kept(LMM, answers)
    assert isinstance(expert, KeptExpert)
    assert expert.name == get(LMM).name
    assert expert.known_words("the red ring") == get(LMM).known_words("the red ring")
    assert asdict(Usage(answers_read=1) + Usage(answers_asked=2))["answers_read"] == 1


def test_a_call_that_does_not_pair_up_is_refused(answers, images):
    with pytest.raises(ValueError, match="need one"):
        kept(LMM, answers).p_yes(images[:2], ["Is it red?"])


def test_no_question_is_no_call(answers):
    assert used(lambda: kept(LMM, answers).p_yes([], []))[1:] == (0, 0)


def test_a_spec_that_cannot_be_used_is_refused(answers):
    with pytest.raises(Exception, match="no_such"):
        kept(ExpertSpec("sam", {"path": "zoo:segmenter", "no_such": 1}), answers)
