"""A labeled data set made of the procedural world: true masks, disturbed with known noise, through the real storage."""

from pathlib import Path

import numpy as np
import pytest

from ivm_data.sources.manifest import plan, read_part
from ivm_data.worlds.world import write_world
from storage.parts.shards import commit_part
from storage.pixels import rle
from storage.records import Label, Lineage, PartResult, Proposal, Rejection, Sample, Scores, Status, Timing
from storage.request import Request

RECIPE = "3f9c0a51d2e7"
EXPERTS = (("grounder", "dino@1"), ("segmenter", "sam@1"), ("verifier", "lmm@1"))


def disturbed(mask_HW: np.ndarray, rng: np.random.Generator, pixels: int) -> np.ndarray:
    return np.roll(mask_HW, tuple(rng.integers(-pixels, pixels + 1, 2)), axis=(0, 1))


def label_of(sample: Sample, rng: np.random.Generator) -> Label:
    truth_HW = rle.decode(sample.human_mask)
    badness = int(rng.choice([1, 2, 30]))
    masks = [rle.encode(disturbed(truth_HW, rng, badness)) for _ in range(2)]
    absent = not truth_HW.any()
    proposals = (
        () if absent else tuple(Proposal(f"e{i}@1", m, 0.5 + 0.4 * i, 0.9, 0.9, 0.8) for i, m in enumerate(masks))
    )
    human_iou = rle.iou(masks[1], sample.human_mask)
    quality = float(np.clip(0.3 + 0.5 * human_iou + rng.normal(0, 0.15), 0.01, 0.99))
    status = Status.ACCEPTED if quality >= 0.6 else Status.REVIEW if quality >= 0.4 else Status.REJECTED
    scores = Scores(
        agreement=rle.iou(*masks),
        quality=quality,
        verification=float(np.clip(quality + rng.normal(0, 0.2), 0, 1)),
        p_yes_kept=0.9,
        p_yes_complement=float(rng.random()),
        area_ratio=float(truth_HW.mean()),
    )
    return Label(
        sample=sample,
        request=Request.of(("small red ring",), "blue square", "left of"),
        candidates=(),
        proposals=proposals,
        mask=masks[1],
        scores=scores,
        status=Status.NO_TARGET if absent else status,
        reason={Status.ACCEPTED: "ok", Status.REVIEW: "uncertain", Status.REJECTED: "low_quality"}[status]
        if not absent
        else "target_absent",
        lineage=Lineage(RECIPE, EXPERTS),
        human_iou=human_iou,
    )


def commit(manifest: Path, data: Path, recipe: str = RECIPE) -> Path:
    rng = np.random.default_rng(0)
    for part in plan(manifest, 64):
        outcomes: list[Label | Rejection] = [
            label_of(item, rng) if isinstance(item, Sample) and item.human_mask else item for item in read_part(part)
        ]
        commit_part(
            data, PartResult(part.name, recipe, tuple(outcomes), (Timing(part.name, recipe, "ground", 1.5, 64),))
        )
    return data


@pytest.fixture(scope="session")
def labeled(tmp_path_factory) -> Path:
    """A data set of 72 labels and 4 rejections; one instruction tries to be HTML."""
    root = tmp_path_factory.mktemp("labeled")
    manifest = write_world(root / "world", "test", scenes=24, pairs_per_scene=3, human_share=0.5)
    lines = manifest.read_text().splitlines()
    lines[0] = lines[0].replace('"instruction": "', '"instruction": "<script>alert(1)</script> & <b>', 1)
    lines += ["not json", '{"image": "none.png", "instruction": "<img src=https://host/x onerror=alert(2)>"}', lines[1]]
    lines.append('{"image": "../out.png", "instruction": "Find the red cup."}')
    manifest.write_text("\n".join(lines))
    return commit(manifest, root / "data")
