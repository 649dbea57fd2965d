"""Labeling again with one thing changed: what did not change is read, and the bytes are those of a run from nothing."""

import hashlib
import shutil
from dataclasses import replace

import pytest
from safetensors.torch import load_file, save_file

from ivm_data.engine.forecast import Cost, forecast
from ivm_data.engine.labeling import label_manifest
from ivm_data.engine.labeling_run import prepare
from ivm_data.engine.pipeline import STAGES, Pipeline
from ivm_data.experts.answers.place import place
from ivm_data.experts.registry import EMBEDDED, ExpertSpec
from ivm_data.recipes.labeling_recipes import recipe
from ivm_data.sources.manifest import plan, read_part
from ivm_data.worlds.world import write_world
from storage.catalog import Catalog
from storage.upkeep.digest import content_hash

BATCH = 4
SIZE = 8
"""Of a part: two batches."""


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("world"), "val", scenes=5, pairs_per_scene=2, human_share=0.5)


@pytest.fixture(scope="module")
def other_lmm(tmp_path_factory):
    """The embedded LMM with a little noise in its weights: other answers, mostly of the same sense."""
    import torch

    folder = tmp_path_factory.mktemp("lmm") / "noisy"
    shutil.copytree(EMBEDDED / "lmm", folder)
    rng = torch.Generator().manual_seed(0)
    for path in folder.glob("*.safetensors"):
        tensors = load_file(path)
        noisy = {
            name: one + 0.02 * one.std() * torch.randn(one.shape, generator=rng) if one.dtype.is_floating_point else one
            for name, one in tensors.items()
        }
        save_file({name: one.to(tensors[name].dtype) for name, one in noisy.items()}, path, {"format": "pt"})
    return ExpertSpec("hf-lmm", {"path": str(folder)})


def base(**changes):
    return recipe("demo", {"batch_size": BATCH} | changes)


def labeled(manifest, data, chosen, answers="none", again=()):
    """Label into a folder; the run, and what became of its parts."""
    run = prepare(manifest, data, chosen, SIZE, answers=place(data, answers), again=again)
    return run, label_manifest(run)


@pytest.fixture(scope="module")
def known(manifest, tmp_path_factory):
    """A data set that was labeled by the recipe `base`, with what its experts answered."""
    data = tmp_path_factory.mktemp("known") / "data"
    labeled(manifest, data, base(), "")
    return data


def bytes_of(data, recipe_hash):
    """Every label file of a recipe."""
    files = sorted((data / "labels" / recipe_hash).iterdir())
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def asked_by_stage(data, recipe_hash):
    with Catalog(data) as catalog:
        rows = catalog.sql(
            "SELECT stage, sum(answers_asked) AS asked FROM timings WHERE recipe = $r GROUP BY ALL", r=recipe_hash
        )
    return {row["stage"]: row["asked"] for row in rows.to_pylist()}


TO_GROUND, TO_RESOLVE, TO_SEGMENT = (list(STAGES)[:count] for count in (2, 3, 4))
CHANGES = {
    "gate": (lambda r, _: replace(r, gate=replace(r.gate, accept=0.97, min_agreement=0.9)), STAGES, ""),
    "calibration": (lambda r, _: replace(r, calibration=""), TO_SEGMENT, ""),
    "votes": (lambda r, _: replace(r, fuse=replace(r.fuse, threshold=0.3)), TO_SEGMENT, ""),
    "dim": (lambda r, _: replace(r, verify=replace(r.verify, dim=0.9)), TO_SEGMENT, "verify"),
    "proposer": (lambda r, _: more(r, threshold=0.4), TO_RESOLVE, "segment"),
    "proposer gone": (lambda r, _: replace(r, proposers=()), TO_SEGMENT, ""),
    "segmenter": (lambda r, _: replace(r, segmenter=with_(r.segmenter, stability_offset=0.5)), TO_RESOLVE, "segment"),
    "verifier": (lambda r, lmm: replace(r, verifier=lmm), TO_GROUND, "verify"),
    "resolve": (lambda r, _: replace(r, resolve=replace(r.resolve, absent_below=0.9)), TO_RESOLVE, ""),
    "context": (lambda r, _: replace(r, resolve=replace(r.resolve, in_context=True)), TO_GROUND, "resolve"),
    "grounder": (lambda r, _: replace(r, grounders=(with_(r.grounders[0], box_threshold=0.5),)), ["rewrite"], "ground"),
    "grounders": (lambda r, _: replace(r, grounders=(*r.grounders, with_(r.grounders[0], nms_iou=0.3))), [], "ground"),
    "nouns": (lambda r, _: replace(r, ground=replace(r.ground, ask_nouns=True)), ["rewrite"], ""),
    "rewriter": (lambda r, lmm: replace(r, rewriter=lmm), [], "rewrite"),
    "seen": (lambda r, _: replace(r, rewrite=replace(r.rewrite, sees_image=True)), [], "rewrite"),
    "batch": (lambda r, _: replace(r, batch_size=3), [], "rewrite"),
}
"""What is changed; stages that ask nothing then; one that asks, "" where that depends on the pairs."""


def with_(spec, **options):
    return replace(spec, options={**spec.options, **options})


def more(chosen, **options):
    return replace(chosen, proposers=(*chosen.proposers, with_(chosen.proposers[0], **options)))


@pytest.mark.slow
@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_recipe_labels_as_from_nothing_and_asks_for_what_changed(name, manifest, known, other_lmm, tmp_path):
    change, free, asks = CHANGES[name]
    chosen, data = change(base(), other_lmm), tmp_path / "data"
    shutil.copytree(known, data)
    run, summaries = labeled(manifest, data, chosen, "")
    fresh, _ = labeled(manifest, tmp_path / "fresh", chosen)
    assert run.recipe_hash == fresh.recipe_hash
    assert bytes_of(data, run.recipe_hash) == bytes_of(fresh.data, run.recipe_hash)
    assert content_hash(data, run.recipe_hash) == content_hash(fresh.data)
    asked = asked_by_stage(data, run.recipe_hash)
    assert {stage: asked[stage] for stage in free} == dict.fromkeys(free, 0)
    assert sum(one.answers_asked for one in summaries) == sum(asked.values())
    assert not asks or asked[asks] > 0


@pytest.mark.slow
def test_what_was_rejected_is_labeled_again_as_without_any_answers(manifest, known, tmp_path):
    """`again` after a run: the pairs that ended so, in batches of their own."""
    for name, answers in (("with", ""), ("without", "none")):
        shutil.copytree(known, tmp_path / name)
        labeled(manifest, tmp_path / name, base(), answers, again=("uncertain", "ok"))
    assert content_hash(tmp_path / "with") == content_hash(tmp_path / "without")
    assert bytes_of(tmp_path / "with", *folders(known)) == bytes_of(tmp_path / "without", *folders(known))
    assert len(bytes_of(tmp_path / "with", *folders(known))) > len(bytes_of(known, *folders(known)))


def folders(data):
    return [path.name for path in (data / "labels").iterdir()]


@pytest.mark.slow
def test_stages_that_are_asked_anew_read_nothing_and_leave_the_same_outcomes(manifest, known):
    part = plan(manifest, SIZE)[0]
    items = read_part(part)
    results = [Pipeline(base(), place(known), anew).run(part.name, items) for anew in ((), ("segment", "verify"))]
    assert results[0].outcomes == results[1].outcomes
    read, asked = ({one.stage: one.answers_read for one in result.timings} for result in results)
    assert read["verify"] > 0 == asked["verify"] and read["resolve"] == asked["resolve"] > 0 == asked["segment"]


@pytest.mark.slow
def test_before_it_starts_a_run_says_what_it_will_read(manifest, known, other_lmm, tmp_path):
    def said(chosen, answers="", data=known):
        return forecast(prepare(manifest, data, chosen, SIZE, answers=place(data, answers)))

    gate = said(base(**{"gate.accept": 0.99}))
    assert {one.use for one in gate.stages} == {"reads"}
    assert (gate.covered, gate.pairs, gate.most) == (10, 10, Cost()) and gate.whole.seconds > 0
    verifier = {one.stage: one.use for one in said(replace(base(), verifier=other_lmm)).stages}
    assert verifier == {
        "rewrite": "reads", "ground": "reads", "resolve": "runs", "segment": "reads what is equal",
        "fuse": "reads what is equal", "verify": "runs",
    }  # fmt: skip
    second = said(more(base(), threshold=0.3)).stages
    assert [one.use for one in second][:3] == ["reads"] * 3
    assert second[3].use == "reads what is equal"
    nothing = said(base(**{"gate.accept": 0.98}), "none")
    assert 0.8 * nothing.whole.seconds < nothing.most.seconds <= nothing.whole.seconds
    assert said(base(), data=tmp_path / "new") is None
    assert gate.price.startswith("At most 0 of ") and gate.lines()[-1] == gate.price and "tokens" not in gate.price
    paid = replace(gate, whole=Cost(60, 2000), stages=(replace(gate.stages[0], most=Cost(6, 500)),))
    assert paid.price.startswith("At most 6 of 60 s and 500 of 2,000 tokens")
