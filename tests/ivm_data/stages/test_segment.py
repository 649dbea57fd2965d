import math
from statistics import fmean

import numpy as np
import pytest

from ivm_data.experts.registry import get
from ivm_data.recipes.labeling_recipes import recipe
from ivm_data.stages.segment import SegmentStage
from ivm_data.stages.stage import Draft
from ivm_data.worlds.grammar import compose
from ivm_data.worlds.scene import draw_scene
from storage.records import Sample


def said_to_be_absent(kind):
    """Drafts of eight scenes whose target the resolve stage found to be absent, rightly or not."""
    for index in range(8):
        scene = draw_scene("val", index)
        pair = compose(scene, kind, np.random.default_rng(index))
        sample = Sample(f"{kind}-{index}", b"", "image.png", 128, 128, pair.instruction, "world")
        yield Draft(sample, scene.image_HWC, pair.request, absent=True)


@pytest.fixture(scope="module")
def experts():
    demo = recipe("demo")
    return get(demo.segmenter), [get(spec) for spec in demo.proposers]


def test_proposers_that_draw_what_is_said_to_be_absent_disagree(experts):
    stage = SegmentStage(*experts)
    there, missing = (stage.run(list(said_to_be_absent(kind))).kept for kind in ("attribute", "absent"))
    assert fmean(draft.scores.agreement for draft in there) < 0.5 < fmean(draft.scores.agreement for draft in missing)
    assert all(0 <= draft.scores.agreement <= 1 and not draft.proposals for draft in (*there, *missing))


def test_without_proposers_nobody_disagrees(experts):
    drafts = SegmentStage(experts[0], ()).run(list(said_to_be_absent("absent"))).kept
    assert all(math.isnan(draft.scores.agreement) for draft in drafts)
