"""What could be silently wrong in benchmarks.policy: success, who sees what, and that arms differ in masks alone."""

import hashlib

import cv2
import numpy as np
import pytest
import torch

from benchmarks.policy import choice, train_one
from benchmarks.policy_found import Found, gain, mask_facts
from benchmarks.policy_masks import masks
from benchmarks.policy_network import BATCH, CELLS, SIDE, Policy, act, clone, shifted, tokens
from benchmarks.policy_scenes import (
    ADDED,
    CROWDS,
    FIRST_TEST,
    KNOWN,
    POINTS,
    TASKS,
    UNSEEN,
    Situation,
    Task,
    demonstrations,
    draw,
    trials,
)
from benchmarks.policy_success import TOLERANCE, alone, largest_pieces, on_target, succeeded
from benchmarks.policy_views import ARMS, Shown, trainings

FEW = 6


@pytest.fixture(scope="module", params=TASKS)
def task(request) -> Task:
    return request.param


@pytest.fixture(scope="module")
def situations(task) -> list[Situation]:
    return trials(task, "unseen", FEW)


def _made(situations: list[Situation]) -> dict[str, np.ndarray]:
    """Masks of a quarter of the image each, another one for each source."""
    made = {}
    for name, (top, left) in {"model": (0, 0), "other": (64, 0), "engine": (0, 64)}.items():
        heatmap_NHW = np.zeros((len(situations), 128, 128), np.uint8)
        heatmap_NHW[:, top : top + 64, left : left + 64] = 255
        made[name] = heatmap_NHW
    return made


def _digests(some: list[Situation]) -> set[str]:
    return {hashlib.sha256(one.image_HWC.tobytes()).hexdigest() for one in some}


def _point(x: float, y: float) -> np.ndarray:
    """The middle of a pixel."""
    return np.array([(x + 0.5) / 128, (y + 0.5) / 128])


def test_a_point_succeeds_on_its_target_and_as_far_beside_it_as_is_tolerated():
    mask_HW = np.zeros((128, 128), bool)
    mask_HW[40:50, 20:30] = True
    assert on_target(_point(20, 40), mask_HW) and on_target(_point(29, 49), mask_HW)
    assert on_target(_point(29 + TOLERANCE, 45), mask_HW) and not on_target(_point(30 + TOLERANCE, 45), mask_HW)
    assert on_target(_point(25, 40 - TOLERANCE), mask_HW) and not on_target(_point(25, 39 - TOLERANCE), mask_HW)
    assert not on_target(_point(45, 25), mask_HW), "x and y are not exchanged"
    assert not on_target(np.array([1.0, 1.0]), mask_HW)


def test_both_points_of_put_must_lie_each_on_its_own_target():
    situation = draw("put", FIRST_TEST)
    points_K2 = situation.points_K2
    assert succeeded(np.stack([points_K2, points_K2[::-1], points_K2[[0, 0]]]), [situation] * 3).tolist() == [
        True,
        False,
        False,
    ]


def test_what_is_demonstrated_succeeds(task):
    some = demonstrations(task, 20)
    assert succeeded(np.stack([one.points_K2 for one in some]), some).all()
    assert all(one.points_K2.shape == (POINTS[task], 2) for one in some)


def test_no_scene_is_both_demonstrated_and_tested(task):
    demonstrated = _digests(demonstrations(task, 40))
    tested = [_digests(trials(task, crowd, 20)) for crowd in CROWDS]
    assert len(demonstrated) == 40 and all(len(each) == 20 for each in tested)
    assert not demonstrated & set.union(*tested)
    assert not {one.index for one in demonstrations(task, 40)} & {one.index for one in trials(task, "same", 20)}


def test_added_things_change_neither_the_instruction_nor_the_targets(task):
    for same, more, unseen in zip(*(trials(task, crowd, 20) for crowd in CROWDS), strict=True):
        for other in (more, unseen):
            assert other.instruction == same.instruction and np.array_equal(other.targets_KHW, same.targets_KHW)
            assert same.things < other.things <= same.things + ADDED
            target_HW = cv2.erode(same.targets_KHW.any(0).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
            assert np.array_equal(other.image_HWC[target_HW], same.image_HWC[target_HW])


def test_demonstrations_name_no_shape_that_is_unseen(task):
    assert not set(KNOWN) & set(UNSEEN)
    said = " ".join(one.instruction.lower() for one in demonstrations(task, 60))
    assert not any(shape in said for shape in UNSEEN) and any(shape in said for shape in KNOWN)


def test_views_show_the_masks_pixels_and_white_elsewhere(situations):
    shown = Shown(situations, _made(situations))
    for name, (top, left) in {"model": (0, 0), "other words": (32, 0), "engine": (0, 32)}.items():
        view_NCHW = shown.views[name].numpy()
        inside = np.s_[:, :3, top : top + 32, left : left + 32]
        assert np.array_equal(view_NCHW[inside], shown.views["raw"].numpy()[inside])
        assert (view_NCHW[:, :3, 63 - top - 8 : 63 - top, 63 - left - 8 : 63 - left] == 255).mean() > 0.99
        assert not view_NCHW[:, 3].any()


def test_the_channel_has_the_mask_in_the_images_frame(situations):
    shown = Shown(situations, _made(situations))
    view_NCHW = shown.views["model, channel"].numpy()
    assert np.array_equal(view_NCHW[:, :3], shown.views["raw"].numpy()[:, :3])
    assert (
        (view_NCHW[:, 3, :32, :32] == 255).all()
        and not view_NCHW[:, 3, 32:].any()
        and not view_NCHW[:, 3, :, 32:].any()
    )


def test_the_truth_shows_the_target_where_it_is_demonstrated(situations):
    shown = Shown(situations, _made(situations))
    for view_CHW, situation in zip(shown.views["truth"].numpy(), situations, strict=True):
        for x, y in situation.points_K2:
            assert (view_CHW[:3, int(y * SIDE), int(x * SIDE)] < 255).any()


def test_an_empty_mask_shows_the_whole_image(situations):
    made = {name: np.zeros_like(each) for name, each in _made(situations).items()}
    shown = Shown(situations, made)
    assert torch.equal(shown.views["model"], shown.views["raw"]) and torch.equal(
        shown.views["engine"], shown.views["raw"]
    )


def test_a_seed_gives_every_arm_the_same_demonstrations_and_fewer_are_a_part_of_more():
    assert np.array_equal(choice(100, 30, 1)[:10], choice(100, 10, 1)) and len(set(choice(100, 100, 1))) == 100
    assert not np.array_equal(choice(100, 30, 1), choice(100, 30, 2))


def test_what_trains_longer_does_so_at_the_most_demonstrations_alone():
    planned = trainings([10, 20])
    assert [count for arm, count in planned if ARMS[arm].longer > 1] == [20]
    assert all((arm, count) in planned for arm in ARMS if ARMS[arm].longer == 1 for count in (10, 20))


def _batches(monkeypatch, shown: Shown, arm: str) -> list[torch.Tensor]:
    """The words of each batch of a training."""
    seen = []
    real = Policy.forward

    def noting(policy: Policy, view_BCHW: torch.Tensor, tokens_BT: torch.Tensor) -> torch.Tensor:
        seen.append(tokens_BT.clone())
        return real(policy, view_BCHW, tokens_BT)

    with monkeypatch.context() as patched:
        patched.setattr(Policy, "forward", noting)
        train_one(shown, arm, 4, seed=5, steps=3)
    return seen


def test_arms_of_a_seed_learn_from_equal_batches(monkeypatch, situations):
    shown = Shown(situations, _made(situations))
    one, two = (_batches(monkeypatch, shown, arm) for arm in ("raw", "model"))
    assert len(one) == 3 and all(torch.equal(a, b) and len(a) == BATCH for a, b in zip(one, two, strict=True))
    assert len({tuple(words.tolist()) for batch in one for words in batch}) <= 4


def test_image_and_points_are_shifted_together():
    view_BCHW, points_BK2 = torch.zeros(1, 4, SIDE, SIDE), torch.tensor([[[20.5 / SIDE, 30.5 / SIDE]]])
    view_BCHW[0, :, 30, 20] = 1
    moved, points = shifted(view_BCHW, points_BK2, 3, -2)
    assert moved[0, 0].nonzero().tolist() == [[28, 23]]
    assert torch.allclose(points * SIDE, torch.tensor([[[23.5, 28.5]]]))


def test_a_policy_learns_to_point_at_what_alone_is_left():
    rng = np.random.default_rng(0)
    places_N2 = rng.integers(8, 56, (64, 2))
    view_NCHW = torch.full((64, 4, SIDE, SIDE), 255, dtype=torch.uint8)
    for view_CHW, (x, y) in zip(view_NCHW, places_N2, strict=True):
        view_CHW[:3, y - 4 : y + 4, x - 4 : x + 4] = 40
    points_NK2 = torch.from_numpy(places_N2 / SIDE).float()[:, None]
    words_NT = torch.from_numpy(np.stack([tokens("Find the red circle.")] * 64))
    policy = clone(view_NCHW, words_NT, points_NK2, 40, seed=0)
    assert (torch.from_numpy(act(policy, view_NCHW, words_NT)) - points_NK2).abs().mean() < 1 / CELLS


def test_words_are_read_in_their_order():
    assert tokens("Put the circle on the square.").tolist() != tokens("Put the square on the circle.").tolist()
    policy = Policy(2).eval()
    view = torch.zeros(1, 4, SIDE, SIDE)
    said = [torch.from_numpy(tokens(text))[None] for text in ("circle square", "square circle")]
    assert not torch.allclose(policy(view, said[0]), policy(view, said[1]))


def test_masks_alone_point_at_their_largest_pieces_in_an_order_of_chance():
    situation = draw("put", FIRST_TEST)
    assert alone([situation.targets_KHW.any(0).astype(float)], [situation]).tolist() == [0.5]
    assert alone([np.zeros((128, 128))], [situation]).tolist() == [0.0]
    picked = draw("pick", FIRST_TEST)
    assert alone([picked.targets_KHW[0].astype(float)], [picked]).tolist() == [1.0]
    mask_HW = np.zeros((128, 128), bool)
    mask_HW[10:12, 20:22] = mask_HW[60:70, 80:90] = True
    assert np.allclose(largest_pieces(mask_HW, 2) * 128, [[85, 65], [21, 11]])


def test_masks_are_right_that_fit_their_own_situation(situations):
    exact = np.stack([255 * one.targets_KHW.any(0).astype(np.uint8) for one in situations])
    assert mask_facts("model", Shown(situations, {"model": exact})).right == 1.0
    assert mask_facts("model", Shown(situations, {"model": np.roll(exact, 1, axis=0)})).right < 1.0
    assert mask_facts("model", Shown(situations, {"model": np.zeros_like(exact)})).empty == 1.0


def test_differences_are_paired_and_hold_their_mean():
    rng = np.random.default_rng(0)
    hard_T = rng.random(60) < 0.5
    one_ST = np.stack([hard_T, hard_T]).astype(float)
    assert gain(one_ST, one_ST) == (0.0, 0.0, 0.0)
    value, low, high = gain(np.ones((2, 60)), one_ST)
    assert value == pytest.approx(1 - hard_T.mean()) and 0 < low < value < high < 1


def test_results_are_read_by_arm_demonstrations_seed_and_crowd():
    results = {
        "raw/10/0": {"same": [True, False]},
        "raw/10/1": {"same": [True, True]},
        "raw/20/0": {"same": [False] * 2},
    }
    found = Found({}, results, 2)
    assert found.right("raw", 10, "same").tolist() == [[1, 0], [1, 1]]
    assert found.right("raw", 20, "same").tolist() == [[0, 0]] and not found.right("truth", 10, "same").size


@pytest.mark.slow
def test_masks_are_of_their_own_situations_and_made_once(tmp_path):
    some = trials("pick", "same", 8)
    made = masks(some, tmp_path)
    assert {name: each.shape for name, each in made.items()} == dict.fromkeys(
        ("model", "other", "engine"), (8, 128, 128)
    )
    shown = Shown(some, made)
    assert mask_facts("model", shown).right > mask_facts("other", shown).right
    assert mask_facts("engine", shown).right >= 0.4
    (kept,) = tmp_path.glob("*.npz")
    when = kept.stat().st_mtime_ns
    assert all(np.array_equal(again, made[name]) for name, again in masks(some, tmp_path).items())
    assert kept.stat().st_mtime_ns == when
    assert len(masks(some[:4], tmp_path)["model"]) == 4, "other situations have masks of their own"
