"""What the embedded LMM is taught, and that a training ends in a checkpoint."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from ivm_data.experts.lmms.hf_lmm import HfLmm, LmmConfig
from ivm_data.experts.lmms.request_line import format_line
from ivm_data.experts.lmms.request_reader import read_request
from ivm_data.worlds.grammar import ALL_KINDS, vocabulary
from ivm_data.worlds.phrases import Description
from ivm_data.worlds.scene import COLOURS, HELD_OUT, RGB, SHAPES, draw_scene
from ivm_data.zoo.training import lmm, lmm_views
from ivm_data.zoo.training.lmm_colours import GREY
from ivm_data.zoo.training.lmm_learner import Learner
from ivm_data.zoo.training.lmm_masks import CORRUPTED_IOU, CORRUPTIONS, GOOD_IOU, imperfect, union
from ivm_data.zoo.training.lmm_model import Size, build_model, build_processor, go_on
from ivm_data.zoo.training.lmm_packs import Packer
from ivm_data.zoo.training.lmm_patches import IGNORED, Patches
from ivm_data.zoo.training.lmm_phrases import STRANGE, renamed, would_deny
from ivm_data.zoo.training.lmm_tower import WAYS, DenseHeads, draw_look, in_false_colours, unshown
from ivm_data.zoo.training.lmm_views import SceneView
from ivm_model.metrics.mask_scores import overlap
from storage.errors import ConfigError


@pytest.fixture(scope="module")
def drawn():
    rng = np.random.default_rng(0)
    scenes = [draw_scene("val", index) for index in range(12)]
    return [(scene, lmm_views.pool(scene, rng)) for scene in scenes]


def views(drawn, draw):
    rng = np.random.default_rng(1)
    return [draw(scene, pairs, rng) for scene, pairs in drawn]


def test_every_word_of_the_world_is_one_known_token():
    tokenizer = build_processor(Size()).tokenizer
    encoded = [tokenizer.encode(word, add_special_tokens=False) for word in vocabulary()]
    assert all(len(ids) == 1 and ids[0] != tokenizer.unk_token_id for ids in encoded)


def test_no_question_or_answer_holds_an_unknown_word(drawn):
    tokenizer = build_processor(Size()).tokenizer
    asks = [ask for draw in lmm_views.SHARES for view in views(drawn, draw) for ask in view.asks]
    asks += [lmm_views.rewrite_ask(pair) for _, pairs in drawn for pair in pairs]
    for ask in asks:
        ids = tokenizer.encode(f"{ask.text} {ask.answer}", add_special_tokens=False)
        assert tokenizer.unk_token_id not in ids, ask


def test_the_taught_rewrite_is_read_back_as_the_truth(drawn):
    for _, pairs in drawn:
        for pair in pairs:
            line = lmm_views.rewrite_ask(pair).answer
            assert format_line(read_request(line)) == format_line(pair.request) == line


def test_an_imperfect_mask_stays_right(drawn):
    rng = np.random.default_rng(2)
    masks = [thing.mask_HW for scene, _ in drawn for thing in scene.things]
    ious = [overlap(imperfect(mask, rng), mask).iou for mask in masks]
    assert min(ious) >= GOOD_IOU and min(ious) < 1


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_a_corrupted_mask_is_never_right(drawn, corruption):
    rng = np.random.default_rng(3)
    for scene, pairs in drawn:
        for pair in (pair for pair in pairs if pair.targets):
            kept, mask_HW = lmm_views.corrupted(scene, pair.targets, corruption, rng)
            assert lmm_views.verify_ask(pair, kept).answer == "no"
            if kept is None:
                assert overlap(mask_HW, union(scene, pair.targets)).iou <= CORRUPTED_IOU
            else:
                assert kept != set(pair.targets) and overlap(mask_HW, union(scene, kept)).iou >= GOOD_IOU


def test_a_right_mask_is_taught_as_right_for_every_kind_that_has_targets(drawn):
    rng = np.random.default_rng(4)
    for scene, pairs in drawn:
        for pair in (pair for pair in pairs if pair.targets):
            kept, _ = lmm_views.corrupted(scene, pair.targets, "", rng)
            assert lmm_views.verify_ask(pair, kept).answer == "yes"


def test_only_the_whole_image_is_right_for_what_needs_all_of_it(drawn):
    rng, seen = np.random.default_rng(11), set()
    for scene, pairs in drawn * 20:
        view = lmm_views.verify_view(scene, pairs, rng)
        for ask in view.asks:
            if ask.job == "verify/whole_image":
                assert ask.answer == ("yes" if view.kept_HW.all() else "no")
                seen.add(ask.answer)
            elif view.kept_HW.all():
                assert ask.answer == "no"
    assert seen == {"yes", "no"}


def test_a_complement_shows_the_target_only_if_it_was_left_out(drawn):
    for scene, pairs in drawn:
        for pair in (pair for pair in pairs if pair.targets):
            removed_HW = union(scene, pair.targets)
            assert lmm_views.complement_ask(scene, pair, removed_HW).answer == "no"
            assert lmm_views.complement_ask(scene, pair, np.zeros_like(removed_HW)).answer == "yes"


def test_both_answers_are_taught_for_every_kind(drawn):
    rng = np.random.default_rng(5)
    asks = {
        (ask.job, ask.answer)
        for _ in range(12)
        for scene, pairs in drawn
        for draw in (lmm_views.verify_view, lmm_views.complement_view)
        for ask in draw(scene, pairs, rng).asks
    }
    for kind in ALL_KINDS:
        assert (f"verify/{kind}", "no") in asks and ((f"verify/{kind}", "yes") in asks) == (kind != "absent")
        assert ((f"complement/{kind}", "no") in asks) == (kind != "whole_image")
        assert ((f"complement/{kind}", "yes") in asks) == (kind not in ("absent", "whole_image"))


def test_a_packed_question_is_answered_as_if_it_were_asked_alone(drawn):
    torch.manual_seed(0)
    size = Size(layers=2)
    processor = build_processor(size)
    llava = build_model(size, processor.tokenizer).eval()
    packer = Packer(processor, size)
    view = views(drawn, lmm_views.verify_view)[0]
    view = replace(view, asks=view.asks[:2])  # as many as surely fit
    rewrite = lmm_views.rewrite_ask(drawn[0][1][0])
    pack = packer.pack([view], [[rewrite]])
    with torch.inference_mode():
        packed_RTV = llava(
            input_ids=pack.ids_RT,
            pixel_values=pack.pixels_BCHW,
            attention_mask=pack.visible_R1TT,
            position_ids=pack.position_RT,
        ).logits
        ends = [at for at, job in zip(pack.at_N.tolist(), ("", *pack.jobs), strict=False) if job == ""]
        assert len(ends) > 2
        for ask, end in zip((*view.asks, rewrite), ends, strict=True):
            shown = "<image>" * size.image_tokens if ask is not rewrite else ""
            ids = processor.tokenizer.encode(
                f"<s>{shown}{ask.text}ASSISTANT:", add_special_tokens=False, return_tensors="pt"
            )
            alone_V = llava(input_ids=ids, pixel_values=pack.pixels_BCHW if shown else None).logits[0, -1]
            torch.testing.assert_close(packed_RTV.flatten(0, 1)[end], alone_V, atol=1e-4, rtol=1e-3)


def test_patches_are_told_what_they_show(drawn):
    size = Size()
    scene, pairs = drawn[0]
    rng = np.random.default_rng(6)
    full = Patches.of([lmm_views.full_view(scene, pairs, rng)], size)
    grid = np.zeros((8, 8), bool)
    for thing in scene.things:
        grid |= thing.mask_HW.reshape(8, 16, 8, 16).mean((1, 3)) >= 0.12
    shown = full.word_BPH[0]
    np.testing.assert_array_equal((shown[:, 0] > 0).numpy(), grid.ravel())
    assert (shown[:, 4:] == IGNORED).all()
    assert (full.extent_BP4[0].isnan().any(1).numpy() == ~grid.ravel()).all()
    kept = Patches.of([lmm_views.verify_view(scene, pairs, rng)], size).word_BPH[0]
    assert (kept[:, 5] != IGNORED).any()


def test_the_tower_learns_to_name_what_patches_show(drawn):
    torch.manual_seed(0)
    size = Size(layers=1)
    processor = build_processor(size)
    llava = build_model(size, processor.tokenizer)
    looks = [draw_look(scene, WAYS, np.random.default_rng(8)) for scene, _ in drawn[:4]]
    heads = DenseHeads(size, processor)
    shown, targets = lmm_views.pixels(looks, size), Patches.of(looks, size)
    optimizer = torch.optim.AdamW([*llava.parameters(), *heads.parameters()], lr=2e-3)
    losses = []
    for _ in range(25):
        seen = heads(llava, shown, targets)
        optimizer.zero_grad()
        seen.loss.backward()
        optimizer.step()
        losses.append(seen.loss.item())
    assert losses[-1] < 0.7 * losses[0] and seen.right["colour"] > 0.5


def test_a_recoloured_view_keeps_its_things_and_asks_for_no_colour(drawn):
    size, rng = Size(), np.random.default_rng(9)
    for scene, _ in drawn:
        view = SceneView(scene.image_HWC, scene, lmm_views.instances(scene), ())
        other = in_false_colours(view, rng)
        plain, false = (Patches.of([one], size).word_BPH[0].numpy() for one in (view, other))
        there = plain[:, 0] > 0
        np.testing.assert_array_equal(false[:, [0, 1, 3]], plain[:, [0, 1, 3]])
        assert (false[there, 2] == IGNORED).all() and (false[~there, 2] == 0).all()
        assert np.abs(other.image_HWC.astype(int) - view.image_HWC).mean() > 5


def test_nothing_recoloured_comes_near_a_colour_that_is_held_out_for_its_shape(drawn):
    rng, named = np.random.default_rng(10), np.array(list(RGB.values()), float)
    for scene, _ in drawn:
        view = SceneView(scene.image_HWC, scene, lmm_views.instances(scene), ())
        for _ in range(5):
            other = in_false_colours(view, rng)
            if np.ptp(other.image_HWC, axis=-1).max() == 0:
                assert other.image_HWC.max() <= GREY[1]
                continue
            for thing in scene.things:
                mean = other.image_HWC[thing.mask_HW].mean(0)
                nearest = list(RGB)[((named - mean) ** 2).sum(1).argmin()]
                assert (nearest, thing.shape) not in HELD_OUT


def test_the_tower_is_never_told_that_a_held_out_combination_is_not_there():
    word_BPH = torch.tensor([[[1, 1, COLOURS.index("red") + 1, SHAPES.index("star") + 1, IGNORED, IGNORED]]])
    assert unshown(word_BPH, "shape")[0].tolist() == [[word == "triangle" for word in ("", *SHAPES)]]
    assert unshown(word_BPH, "colour")[0].tolist() == [[word == "yellow" for word in ("", *COLOURS)]]
    assert not unshown(word_BPH, "size").any()


def test_no_candidate_is_denied_a_held_out_combination(drawn):
    red_star = next(
        t for i in range(300) for t in draw_scene("val", i).things if (t.colour, t.shape) == ("red", "star")
    )
    assert would_deny(Description(shape="triangle"), red_star)
    assert would_deny(Description(colour="yellow"), red_star)
    assert not would_deny(Description(colour="blue", shape="triangle"), red_star)
    assert not would_deny(Description(shape="square"), red_star)


def test_a_strange_noun_stands_in_the_instruction_and_in_its_line(drawn):
    rng, known = np.random.default_rng(12), build_processor(Size()).tokenizer.vocab
    told = [renamed(pair.instruction, format_line(pair.request), rng) for _, pairs in drawn for pair in pairs]
    strange = [(instruction, line) for instruction, line in told if set(STRANGE) & set(line.split())]
    assert len(strange) > len(told) / 3
    for instruction, line in strange:
        (word,) = set(STRANGE) & set(line.split())
        assert word in instruction.lower() and word in known
    for (instruction, line), pair in zip(told, (pair for _, pairs in drawn for pair in pairs), strict=True):
        if not set(STRANGE) & set(line.split()):
            assert (instruction, line) == (pair.instruction, format_line(pair.request))


def test_the_language_model_keeps_the_words_that_its_tower_was_taught_and_denies_nothing_held_out(drawn):
    torch.manual_seed(1)
    size = Size(layers=3)
    processor = build_processor(size)
    vocab = processor.tokenizer.vocab
    llava = build_model(size, processor.tokenizer)
    learner = Learner(llava, vocab)
    view = lmm_views.candidate_view(*drawn[0], np.random.default_rng(0))
    naming = lmm_views.Ask("What is this?", "small plain red star", "name")
    pack = Packer(processor, size).pack([replace(view, asks=(naming, *view.asks[:2]))], [])
    learner(pack).total.backward()
    gradient = llava.lm_head.weight.grad
    assert gradient[[vocab["red"], vocab["triangle"], vocab["small"]]].abs().sum() == 0
    assert gradient[vocab["yes"]].abs().sum() > 0
    after_red = learner.unsaid_VV[vocab["red"]]
    assert after_red.nonzero().flatten().tolist() == [vocab["triangle"]]


def test_a_training_goes_on_from_an_earlier_one_word_by_word(tmp_path):
    torch.manual_seed(0)
    size = Size(layers=1)
    processor = build_processor(size)
    earlier = build_model(size, processor.tokenizer)
    earlier.save_pretrained(tmp_path / "earlier")
    processor.save_pretrained(tmp_path / "earlier")
    later = build_model(size, processor.tokenizer)
    fresh = later.lm_head.weight.detach().clone()
    more = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordLevel({"ring": 3, "novel": 5, "star": 7, "[UNK]": 0}, unk_token="[UNK]"))
    )
    go_on(later, more, tmp_path / "earlier")
    known = processor.tokenizer.vocab
    assert torch.equal(later.lm_head.weight[3], earlier.lm_head.weight[known["ring"]])
    assert torch.equal(later.lm_head.weight[7], earlier.lm_head.weight[known["star"]])
    assert torch.equal(later.lm_head.weight[5], fresh[5])
    assert later.get_input_embeddings().weight.data_ptr() == later.lm_head.weight.data_ptr()
    assert torch.equal(
        later.model.multi_modal_projector.linear_1.weight, earlier.model.multi_modal_projector.linear_1.weight
    )
    with pytest.raises(ConfigError, match="'start' must be the folder of an earlier LMM"):
        go_on(build_model(Size(layers=2), processor.tokenizer), processor.tokenizer, tmp_path / "earlier")


@pytest.mark.parametrize("changes", [{"batch": 0}, {"steps": -1}, {"tower_steps": -1}])
def test_a_training_that_cannot_run_is_refused(changes):
    with pytest.raises(ConfigError, match=next(iter(changes))):
        lmm.LmmTraining(**changes)


@pytest.mark.slow
def test_a_training_publishes_a_checkpoint_with_its_card(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "ivm_data.zoo.training.scenes.CHUNK", 8
    )  # draws few scenes; the real one would draw 500 of each split
    config = lmm.LmmTraining(
        tower_steps=2, tower_batch=2, steps=2, scenes=8, held_out=3, batch=2, cache_dir=tmp_path / "cache"
    )
    lines = []
    scores = lmm.train(tmp_path / "lmm", config, lines.append)
    assert scores["rewrite exact, val"] == 0.0 and any("verify AUC" in line for line in lines)
    assert "| verify AUC |" in (tmp_path / "lmm" / "README.md").read_text()
    expert = HfLmm(LmmConfig(str(tmp_path / "lmm")))
    assert 0 <= expert.p_yes([draw_scene("val", 0).image_HWC], ["Is there a ring?"])[0] <= 1
