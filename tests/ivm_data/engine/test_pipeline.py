import io
import threading
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from ivm_data.engine.pipeline import Pipeline, batches, decoded
from ivm_data.recipes.labeling_recipes import recipe
from storage.errors import TransientError
from storage.records import Label, Rejection, Sample


def png(seed):
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (32, 48, 3), np.uint8)).save(file, "PNG")
    return file.getvalue()


def sample(name, data):
    return Sample(name, data, f"{name}.png", 48, 32, "Find the red ring.", "test", "attribute", "hard")


@pytest.fixture(scope="module")
def pipeline():
    return Pipeline(recipe("demo", {"batch_size": 2}))


def test_samples_of_one_image_share_its_array():
    outcome = decoded([sample("a", png(0)), sample("b", png(1)), sample("c", png(0))])
    first, other, again = (draft.image_HWC for draft in outcome.kept)
    assert first is again and first is not other
    assert first.shape == (32, 48, 3)


def test_an_image_that_a_worker_cannot_decode_is_a_rejection_of_its_own_samples_in_their_place(pipeline):
    torn = png(1)[:-300]
    samples = [sample("a", png(0)), sample("b", torn), sample("c", png(2)), sample("d", torn), sample("e", png(3))]
    outcomes = pipeline.run("part", samples).outcomes
    ids = [outcome.sample.id if isinstance(outcome, Label) else outcome.sample_id for outcome in outcomes]
    assert ids == ["a", "b", "c", "d", "e"]
    refused = [outcome for outcome in outcomes if isinstance(outcome, Rejection) and outcome.stage == "ingest"]
    assert [(one.sample_id, one.reason, one.image_uri, one.kind, one.difficulty) for one in refused] == [
        ("b", "image_unreadable", "b.png", "attribute", "hard"),
        ("d", "image_unreadable", "d.png", "attribute", "hard"),
    ]


def test_huge_images_pass_a_few_at_a_time_whether_or_not_they_are_one_file():
    """16 of 119 megapixels in one batch took 11 GB before any expert had made a copy."""
    huge = [replace(sample(str(n), b""), width=10_900, height=10_900) for n in range(5)]
    assert [len(batch) for batch in batches(huge, 16)] == [2, 2, 1]
    photos = [replace(sample(str(n), b""), width=5472, height=3648) for n in range(40)]
    assert [len(batch) for batch in batches(photos, 16)] == [16, 16, 8]


def test_no_thread_is_left_after_a_run_that_an_error_ended(pipeline, monkeypatch):
    def fail(batch):
        raise TransientError("the server is away")

    monkeypatch.setattr(pipeline.stages[0], "run", fail)
    with pytest.raises(TransientError):
        pipeline.run("part", [sample(str(seed), png(seed)) for seed in range(8)])
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]


def watched(pipeline, events, meet=None):
    """Every stage writes down when a batch comes and goes; `meet(stage)` is called in between."""

    def wrap(stage):
        run = stage.run

        def watch(batch):
            events.append((stage.name, "comes", len(batch)))
            if meet:
                meet(stage.name)
            outcome = run(batch)
            events.append((stage.name, "goes", len(batch)))
            return outcome

        stage.run = watch

    for stage in pipeline.stages:
        wrap(stage)
    return pipeline


def test_a_batch_is_grounded_while_the_one_before_is_verified_and_a_stage_has_one_at_a_time():
    events, grounded = [], []
    second = threading.Event()

    def meet(stage):
        if stage == "ground":
            grounded.append(stage)
            if len(grounded) == 2:
                second.set()
        if stage == "verify" and len(grounded) < 4:
            assert second.wait(60)

    pipeline = watched(Pipeline(recipe("demo", {"batch_size": 1}), lanes=2), events, meet)
    plain = Pipeline(recipe("demo", {"batch_size": 1}), lanes=1)
    samples = [sample(name, png(number)) for number, name in enumerate("abcdef")]
    assert pipeline.run("part", samples).outcomes == plain.run("part", samples).outcomes
    assert second.is_set()
    under_way = dict.fromkeys((stage.name for stage in pipeline.stages), 0)
    for name, what, _ in events:
        under_way[name] += 1 if what == "comes" else -1
        assert 0 <= under_way[name] <= 1
        assert sum(under_way.values()) <= 2
