import numpy as np
import pytest
import torch

from ivm_model.data.features import encode_rows
from ivm_model.discriminator.masked_views import MaskedView, MaskedViews
from ivm_model.discriminator.network import DiscriminatorConfig
from ivm_model.discriminator.stage_one import ABSENCE_SHARE, balanced_groups, prepare_views, run_stage_one
from storage.errors import ConfigError
from storage.pixels import rle

CONFIG = DiscriminatorConfig(question="{instruction} ok ?", steps=2, batch=8)


@pytest.fixture
def features(model, rows):
    return encode_rows(model, rows.train)


def test_every_view_gets_a_probability_from_the_fold_of_its_image(model, features, rows):
    views = prepare_views(model, rows.train, CONFIG, seed=0)
    scores = run_stage_one(model, features, views, CONFIG, seed=0)
    assert scores.d_M.shape == (len(views.views),) and ((scores.d_M > 0) & (scores.d_M < 1)).all()
    folds = {}
    for view, fold in zip(views.views, scores.fold_M, strict=True):
        assert folds.setdefault(features.image_N[view.row], fold) == fold
    assert set(folds.values()) == {0, 1}
    assert len(scores.losses) == 4


@pytest.mark.parametrize("loss", ["bce", "pu", "nnpu"])
def test_the_same_seed_gives_the_same_scores_with_every_loss(model, features, rows, loss):
    config = DiscriminatorConfig(question="{instruction} ok ?", steps=2, batch=8, loss=loss)
    views = prepare_views(model, rows.train, config, seed=0)
    first, second = (run_stage_one(model, features, views, config, seed=3) for _ in range(2))
    np.testing.assert_array_equal(first.d_M, second.d_M)
    assert np.ptp(first.d_M) > 0


def test_stage_one_leaves_the_generator_as_it_was(model, features, rows):
    before = model(features.encoded_rows(np.arange(2)), [row.instruction for row in rows.train[:2]])
    run_stage_one(model, features, prepare_views(model, rows.train, CONFIG, seed=0), CONFIG, seed=0)
    after = model(features.encoded_rows(np.arange(2)), [row.instruction for row in rows.train[:2]])
    assert (before == after).all()
    assert not model.lmm.role_parameters("discriminator_0")


def test_without_human_rows_there_is_no_discriminator(model, rows):
    with pytest.raises(ConfigError, match="uniform"):
        prepare_views(model, rows.machine[:2], CONFIG, seed=0)


def _views(*parts):
    """Views of these parts, an "-" behind those that say "no target"."""
    full, empty = (rle.encode(np.full((8, 8), here)) for here in (True, False))
    views = [MaskedView(part.rstrip("-"), 0, empty if part.endswith("-") else full, "ok") for part in parts]
    return MaskedViews(tuple(views), torch.zeros(len(views), 1, 1))


def test_each_head_learns_from_halves_of_human_labels():
    views = _views("human", "machine", "wrong", "human-", "machine-", "machine-", "shuffled")
    masks, absences = balanced_groups(views, np.ones(7, bool))
    assert absences.share == ABSENCE_SHARE and masks.share == 1 - ABSENCE_SHARE
    assert {part: pool.tolist() for part, pool in masks.pools.items()} == {"human": [0], "machine": [1], "wrong": [2]}
    assert {part: pool.tolist() for part, pool in absences.pools.items()} == {"human": [3], "machine": [4, 5]}
    assert [count for _, count in masks.draws(32)] == [12, 6, 6]
    assert [count for _, count in absences.draws(32)] == [4, 4]


def test_where_nobody_said_no_target_its_head_learns_nothing():
    (masks,) = balanced_groups(_views("human", "machine", "machine-", "wrong-"), np.ones(4, bool))
    assert masks.share == 1.0 and masks.pools["human"].tolist() == [0]


def test_what_says_no_target_stays_at_a_half_where_nobody_said_so(model, rows, features):
    views = prepare_views(model, rows.train, CONFIG, seed=0)
    scores = run_stage_one(model, features, views, CONFIG, seed=0)
    assert views.empty_M.any() and (scores.d_M[views.empty_M] == 0.5).all()
