"""What no expert may be hurt by, one case for all of them; what is peculiar to one stands in its own tests."""

import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ivm_data.engine.labeling import label_manifest
from ivm_data.engine.labeling_run import prepare
from ivm_data.experts import registry
from ivm_data.experts.common.protocols import AnswerError
from ivm_data.experts.lmms.hf_lmm import HfLmm, LmmConfig
from ivm_data.experts.registry import ExpertSpec, create
from ivm_data.experts.segmenters import prompted_masks
from ivm_data.recipes.labeling_recipes import recipe
from ivm_data.worlds.scene import draw_scene
from ivm_data.zoo.embedded import WEIGHTS
from storage.catalog import Catalog
from storage.errors import ConfigError, WeightsError
from storage.records import Box
from storage.request import Request

NATIVE = {"groundingdino", "segment-anything"}
WITHOUT_FILES = {"openai", "flow"}
LOCAL = [name for name in registry.names() if name not in WITHOUT_FILES]
TRACKERS = ["sam2-video", "sam3-tracker-video", "edgetam-video"]
SEGMENTERS = ["sam", "sam2", "sam3-tracker", "edgetam", "segment-anything"]
FOLDERS = [name for name in LOCAL if name not in NATIVE]
"""Experts whose checkpoint is a folder, their own or that of a part."""
IMAGE = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)


@pytest.fixture(autouse=True)
def _miniature_architectures(tiny, monkeypatch):
    tiny.use_tiny_swin(monkeypatch)
    tiny.use_small_sam(monkeypatch)


@pytest.fixture(scope="module")
def saved(tiny, tmp_path_factory):
    """Name -> (spec, folder with its checkpoint), written once."""
    made = {}

    def get(name):
        if name not in made:
            with pytest.MonkeyPatch.context() as patch:
                tiny.use_tiny_swin(patch)
                folder = tmp_path_factory.mktemp(name)
                made[name] = tiny.SPECS[name](folder), folder
        return made[name]

    return get


def moved(spec, old, new):
    """The spec of a copy: every path under `old` is one under `new`."""
    options = {k: v.replace(str(old), str(new)) if isinstance(v, str) else v for k, v in spec.options.items()}
    return ExpertSpec(spec.expert, options, {role: moved(part, old, new) for role, part in spec.uses.items()})


@pytest.fixture
def copied(saved, tmp_path):
    def copy(name):
        spec, folder = saved(name)
        shutil.copytree(folder, tmp_path / "copy")
        return moved(spec, folder, tmp_path / "copy"), sorted((tmp_path / "copy").rglob("*.safetensors"))

    return copy


def ask(expert, phrase):
    """The expert's verb about one image."""
    if hasattr(expert, "ground"):
        return expert.ground([IMAGE], [[phrase]])
    if hasattr(expert, "propose"):
        return expert.propose([IMAGE], [Request.of((phrase,))])
    return expert.p_yes([IMAGE], [f"Is there a {phrase}?"])


def load(spec):
    expert = create(spec)
    expert.load()
    return expert


@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.parametrize(
    "head", [b"", b"\xff" * 64, (1 << 60).to_bytes(8, "little") + b"{}", (2).to_bytes(8, "little") + b"[]"],
    ids=["empty", "noise", "a header of an exabyte", "a header that is a list"],
)  # fmt: skip
def test_corrupt_safetensors_are_refused_by_name(copied, name, head):
    spec, weights = copied(name)
    weights[0].write_bytes(head)
    with pytest.raises(WeightsError, match=re.escape(str(weights[0].parent))):
        load(spec)


@pytest.mark.parametrize("name", FOLDERS)
def test_a_whole_checkpoint_of_another_architecture_is_refused(copied, name):
    spec, weights = copied(name)
    folder = weights[0].parent
    is_sam = json.loads((folder / "config.json").read_text()).get("model_type") == "sam"
    shutil.rmtree(folder)
    shutil.copytree(WEIGHTS / ("grounder" if is_sam else "segmenter"), folder)
    with pytest.raises(WeightsError, match=re.escape(str(folder))):
        load(spec)


class Payload:
    """A pickle that would leave a trace when read."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (self.trace,)


@pytest.mark.parametrize("name", LOCAL)
def test_a_pickle_with_code_in_it_is_refused_and_not_run(copied, tmp_path, name):
    spec, weights = copied(name)
    if name in NATIVE:
        file = Path(spec.options["path"])
    else:
        file = weights[0].with_name("pytorch_model.bin")
        weights[0].unlink()
    torch.save({"model": Payload(tmp_path / "trace")}, file)
    with pytest.raises(WeightsError, match="No such file" if name == "ivm" else "more than tensors"):
        load(spec)
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("name", [name for name in LOCAL if name not in SEGMENTERS + TRACKERS])
def test_a_phrase_longer_than_any_context_is_cut_or_refused_in_words(saved, name):
    expert = registry.get(saved(name)[0])
    try:
        ask(expert, "red star " * 4000)
    except ValueError as error:
        assert "long" in str(error) and "tokens" in str(error)


@pytest.mark.parametrize("name", SEGMENTERS)
def test_two_thousand_boxes_give_two_thousand_masks(saved, name):
    rng = np.random.default_rng(0)
    low_N2, size_N2 = rng.uniform(0, 30, (2000, 2)), rng.uniform(1, 18, (2000, 2))
    boxes = [Box(*low, *(low + size)) for low, size in zip(low_N2, size_N2, strict=True)]
    (found,) = registry.get(saved(name)[0]).segment([IMAGE], [boxes])
    assert found.mask_NHW.shape == (2000, 48, 64) and len(found.predicted_iou_N) == len(found.stability_N) == 2000
    assert len(np.unique(found.predicted_iou_N)) > 100


@pytest.mark.parametrize("name", SEGMENTERS)
def test_masks_of_a_large_image_are_drawn_a_few_at_a_time(saved, monkeypatch, name):
    expert = create(saved(name)[0])
    expert.load()
    upscale, drawn = expert.upscale, []

    def watched(logits_N1hw, original_hw, resized_hw):
        drawn.append(len(logits_N1hw) * original_hw[0] * original_hw[1])
        return upscale(logits_N1hw, original_hw, resized_hw)

    monkeypatch.setattr(expert, "upscale", watched)
    (found,) = expert.segment([np.zeros((2000, 1500, 3), np.uint8)], [[Box(9, 9, 900, 900)] * 12])
    assert found.mask_NHW.shape == (12, 2000, 1500)
    assert len(drawn) > 1 and max(drawn) <= prompted_masks._PIXELS_PER_CHUNK == 1 << 25


def test_a_question_over_the_context_length_is_refused_and_its_neighbours_are_answered(tmp_path):
    manifest = tmp_path / "m.jsonl"
    Image.fromarray(draw_scene("val", 5000).image_HWC).save(tmp_path / "scene.png")
    instructions = ["Find the red ring.", "a-" * 900 + " red ring.", "Where is the star?"]
    manifest.write_text("\n".join(json.dumps({"image": "scene.png", "instruction": text}) for text in instructions))
    run = prepare(manifest, tmp_path / "data", replace(recipe("demo"), proposers=()), part_size=3)
    label_manifest(run)
    with Catalog(run.data) as catalog:
        failed = catalog.sql("select stage, detail from rejections where reason = 'expert_failed'").to_pylist()
        count = catalog.sql("select count(*) as n from outcomes").to_pylist()
    assert count == [{"n": 3}] and [row["stage"] for row in failed] == ["rewrite"]
    assert re.search(r"a question of 18\d\d tokens.* is too long for lmm@\w+, which reads 1024", failed[0]["detail"])
    with pytest.raises(AnswerError, match="too long"):
        HfLmm(LmmConfig(str(WEIGHTS / "lmm"))).p_yes([IMAGE], ["a-" * 900])


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("grounding-dino", {"box_threshold": 2.0}, "box_threshold must lie in"),
        ("owlv2", {"phrases_per_batch": 0}, "phrases_per_batch must be at least 1"),
        ("sam", {"prompts_per_batch": 0}, "prompts_per_batch must be at least 1"),
        ("segment-anything", {"stability_offset": 0.0}, "stability_offset must be above 0"),
        ("groundingdino", {"shortest_edge": 8, "text_encoder": "x"}, "'shortest_edge' must lie in"),
    ],
)
def test_an_option_out_of_range_is_a_matter_of_configuration(name, options, said):
    with pytest.raises(ConfigError, match=said):
        create(ExpertSpec(name, {"path": "x", **options}))


@pytest.fixture
def peak_mib():
    """Peak resident memory of this process since the fixture was asked for, beyond what it had then."""
    status = Path("/proc/self/status")
    if not status.is_file():
        pytest.skip("needs Linux' /proc to see the peak of memory")

    def read(line):
        return int(re.search(rf"{line}:\s+(\d+) kB", status.read_text())[1]) // 1024

    Path("/proc/self/clear_refs").write_text("5")
    before = read("VmRSS")
    return lambda: read("VmHWM") - before


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_one_pixel_and_too_many_are_rejected_and_12000_by_9000_is_one_row_in_bounded_memory(tmp_path, peak_mib):
    scene = draw_scene("val", 5000)
    words = f"Find the {scene.things[0].colour} {scene.things[0].shape}."
    sizes = {"pixel": (1, 1), "huge": (12_000, 9000), "larger": (12_001, 10_000)}
    for name, size in sizes.items():
        Image.fromarray(scene.image_HWC).resize(size, Image.Resampling.NEAREST).save(
            tmp_path / f"{name}.png", compress_level=1
        )
    lines = [json.dumps({"image": f"{name}.png", "instruction": words}) for name in sizes]
    (tmp_path / "m.jsonl").write_text("\n".join(lines))
    changes = {"resolve.absent_below": 0.0, "grounders.0.options.box_threshold": 0.0}
    run = prepare(tmp_path / "m.jsonl", tmp_path / "data", recipe("demo", changes), part_size=3)
    label_manifest(run)
    with Catalog(run.data) as catalog:
        rows = catalog.sql("select image_uri, status, reason from outcomes order by image_uri").to_pylist()
    assert [(row["image_uri"], row["reason"]) for row in rows if row["status"] is None] == [
        ("larger.png", "image_too_large"), ("pixel.png", "image_too_small"),
    ]  # fmt: skip
    assert len(rows) == 3 and peak_mib() < 6000
