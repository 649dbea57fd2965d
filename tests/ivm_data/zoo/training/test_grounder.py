import numpy as np
import pytest
import torch

from ivm_data.experts.common.phrase_score import caption, phrase_spans
from ivm_data.worlds.grammar import matches
from ivm_data.worlds.scene import HELD_OUT, draw_scene
from ivm_data.zoo.training import grounder, scenes
from ivm_data.zoo.training.grounder import GrounderTraining, draw_batch
from ivm_data.zoo.training.grounder_captions import draw_caption, encode
from ivm_data.zoo.training.grounder_loss import DenseHead, grounding_loss
from ivm_data.zoo.training.grounder_model import LOGIT_PRIOR, MAX_TOKENS, build, processor


@pytest.fixture(scope="module")
def drawn():
    return [draw_scene("train", index) for index in range(40)]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return build().train()


def test_phrases_fit_the_things_that_the_world_says_they_fit(drawn):
    rng = np.random.default_rng(0)
    for scene in drawn:
        phrases, fits_PK = draw_caption(scene, 0.3, rng)
        assert 1 <= len(phrases) <= 6 and len(set(phrases)) == len(phrases)
        for phrase, fits_K in zip(phrases, fits_PK, strict=True):
            if "[UNK]" in phrase:
                assert not fits_K.any()
            else:
                assert fits_K.tolist() == [matches(thing, phrase) for thing in scene.things]


def test_about_the_asked_share_of_phrases_fits_nothing(drawn):
    rng = np.random.default_rng(0)
    fits = [fits_K.any() for scene in drawn * 10 for fits_K in draw_caption(scene, 0.4, rng)[1]]
    assert 0.25 < 1 - np.mean(fits) < 0.45


def test_no_training_caption_names_a_held_out_combination(drawn):
    rng = np.random.default_rng(0)
    for scene in drawn * 20:
        for phrase in draw_caption(scene, 0.5, rng)[0]:
            assert not any(colour in phrase and shape in phrase.split() for colour, shape in HELD_OUT)


def test_encoded_captions_are_those_of_the_committed_tokenizer(drawn):
    rng = np.random.default_rng(0)
    captions = [draw_caption(scene, 0.3, rng)[0] for scene in drawn]
    ids_BT, phrase_BT = encode(captions)
    expected = processor().tokenizer(
        [caption(row).replace("[unk]", "zebra") for row in captions], padding=True, return_tensors="pt"
    )
    assert torch.equal(ids_BT, expected["input_ids"])
    assert ids_BT.shape[1] <= MAX_TOKENS
    for ids, phrase_of, row in zip(ids_BT.tolist(), phrase_BT.tolist(), captions, strict=True):
        spans = phrase_spans(ids)
        assert [(phrase_of.index(i), phrase_of.index(i) + phrase_of.count(i)) for i in range(len(row))] == spans


def test_targets_mark_every_token_of_every_fitting_phrase(drawn):
    pixels_BCHW, ids_BT, targets = draw_batch(drawn[:8], 0.3, np.random.default_rng(0))
    assert pixels_BCHW.shape == (8, 3, 128, 128) and targets.token_BKT.shape[2] == ids_BT.shape[1]
    assert torch.equal(targets.is_target_BK, targets.token_BKT.any(-1))
    for row, scene in enumerate(drawn[:8]):
        spans = phrase_spans(ids_BT[row].tolist())
        for k, thing in enumerate(scene.things):
            words = [targets.token_BKT[row, k, start:stop] for start, stop in spans]
            assert all(span.min() == span.max() for span in words)
            assert targets.token_BKT[row, k].sum() == sum(span.sum() for span in words)
            x, y, width, height = (targets.box_BK4[row, k] * 128).tolist()
            assert (x - width / 2, y + height / 2) == pytest.approx((thing.box.x0, thing.box.y1))


def test_the_untrained_model_starts_at_the_logit_prior(model, drawn):
    pixels_BCHW, ids_BT, targets = draw_batch(drawn[:4], 0.3, np.random.default_rng(0))
    with torch.inference_mode():
        logits_BQT = model(pixels_BCHW, ids_BT, attention_mask=targets.is_token_BT.long()).logits
    said = logits_BQT[..., : ids_BT.shape[1]][targets.is_token_BT[:, None].expand(-1, logits_BQT.shape[1], -1)]
    assert said.mean() == pytest.approx(LOGIT_PRIOR, abs=1)
    assert said.std() < 4


def test_the_loss_reaches_every_parameter_even_with_different_captions(model, drawn):
    head = DenseHead(model.config.d_model)
    model.zero_grad()
    grounding_loss(model, head, *draw_batch(drawn[:6], 0.3, np.random.default_rng(0))).backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert without == []
    assert model.model.encoder_output_bbox_embed.layers[-1].weight.grad.abs().sum() > 0


def test_an_image_where_nothing_fits_still_has_a_finite_loss(model, drawn):
    pixels_BCHW, ids_BT, targets = draw_batch(drawn[:2], 0.0, np.random.default_rng(0))
    targets.token_BKT.zero_()
    targets.is_target_BK.zero_()
    loss = grounding_loss(model, DenseHead(model.config.d_model), pixels_BCHW, ids_BT, targets)
    assert loss.isfinite() and loss > 0


def test_a_training_writes_a_checkpoint_and_a_card_that_tells_its_scores(tmp_path, monkeypatch):
    monkeypatch.setattr(scenes, "CHUNK", 8)
    config = GrounderTraining(
        pretrain_steps=1,
        steps=(2, 1),
        learning_rate=(1e-3, 1e-4),
        scenes=8,
        batch=2,
        held_out=8,
        cache_dir=tmp_path / "cache",
    )
    lines = []
    scores = grounder.train(tmp_path / "grounder", config, lines.append)
    card = (tmp_path / "grounder" / "README.md").read_text()
    assert {"model.safetensors", "config.json", "tokenizer.json"} <= {p.name for p in (tmp_path / "grounder").iterdir()}
    assert all(0 <= value <= 1 and name in card for name, value in scores.items())
    assert str(tmp_path) not in card and lines[-1].startswith("grounder: ")


def test_a_config_that_cannot_work_is_refused():
    with pytest.raises(ValueError, match="'batch' must be at least 1, got 0"):
        GrounderTraining(batch=0)
    with pytest.raises(ValueError, match=r"need an entry for each cycle.* got \(5,\) and \(0.1, 0.2\)"):
        GrounderTraining(steps=(5,), learning_rate=(0.1, 0.2))
    with pytest.raises(ValueError, match=r"'absent' must lie in \[0, 1\), got 1"):
        GrounderTraining(absent=1)
