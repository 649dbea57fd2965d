"""The LMM sees an image or a crop once for all that the instructions of an image ask about it."""

import pytest

from ivm_data.engine.labeling import label_manifest
from ivm_data.engine.labeling_run import prepare
from ivm_data.experts.lmms.hf_lmm import HfLmm
from ivm_data.recipes.labeling_recipes import recipe
from ivm_data.worlds.world import write_world
from storage.data_set import DataSet

IMAGES, INSTRUCTIONS = 3, 4


@pytest.fixture(scope="module", params=["demo", "everything"])
def calls(request, tmp_path_factory, with_everything):
    """How many calls are about crops; the calls of `p_yes`, each as identities of images and questions; the labels."""
    chosen = recipe("demo") if request.param == "demo" else with_everything
    folder, calls, p_yes = tmp_path_factory.mktemp("passes"), [], HfLmm.p_yes

    def counted(self, images, questions):
        calls.append(([id(image) for image in images], list(questions)))
        return p_yes(self, images, questions)

    manifest = write_world(folder / "world", "val", scenes=IMAGES, pairs_per_scene=INSTRUCTIONS, human_share=0.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HfLmm, "p_yes", counted)
        label_manifest(prepare(manifest, folder / "data", chosen, 64), lambda _: None)
    with DataSet.open(folder / "data") as data:
        return 1 + (request.param == "everything"), calls, list(data.labels())


def about(calls, words):
    return [call for call in calls if call[1][0].startswith(words)]


def test_each_stage_asks_once_for_a_part(calls):
    of_crops, made, _ = calls
    assert len(about(made, "Is there a ")) == 1
    # The candidates of the boxes, and the things of `everything`.
    assert len(about(made, "Is this a ")) == of_crops
    assert len(made) == 2 + of_crops


def test_no_question_about_an_array_is_asked_twice_and_a_crop_is_one_array(calls):
    of_crops, made, labels = calls
    for images, questions in made:
        assert len(set(zip(images, questions, strict=True))) == len(questions)
    # Two for each mask that is verified, and less than two crops a pair; `everything` shares most of its own.
    assert sum(len(set(images)) for images, _ in made) < (4 + 0.5 * of_crops) * len(labels) + IMAGES
