"""GQA (Hudson and Manning 2019): questions beside the scene graphs of their images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ivm_data.sources.foreign.common.foreign_reader import ForeignPair, Record, Target, box_target, checked, existing
from ivm_data.sources.foreign.common.image_references import image_path
from ivm_data.sources.foreign.common.json_stream import read_at, stream
from ivm_data.sources.foreign.detection.coco_target import image_size

GRAPHS_IN_MEMORY = 1000


@dataclass(frozen=True)
class GqaConfig:
    """Which files.

    Attributes:
        questions: `train_balanced_questions.json` or any of its like.
        scene_graphs: `train_sceneGraphs.json` of the same images; without it nothing is labeled but absence.
        images: folder of the image files, relative to the image root.
        held_out: these pairs only score.
    """

    questions: str
    scene_graphs: str = ""
    images: str = "gqa/images"
    held_out: bool = False


def read_gqa(config: GqaConfig) -> Iterator[Record]:
    """GQA: a question is the instruction; the boxes of its annotated objects, or their absence, are the label.

    Reads: *_questions.json, *_sceneGraphs.json
    """
    graphs = _SceneGraphs(existing(config.scene_graphs, "scene_graphs")) if config.scene_graphs else None
    path = existing(config.questions, "questions")
    for node in stream(path):
        yield from checked(f"{path.name}: question {node.key}", _pairs, node.value, graphs, config)


class _SceneGraphs:
    """Where each image's scene graph lies in the file, and the last ones read."""

    def __init__(self, path: Path) -> None:
        self.path, self.places = path, {node.key: (node.start, node.stop) for node in stream(path)}
        self.graph = lru_cache(GRAPHS_IN_MEMORY)(self._graph)

    def _graph(self, image: str) -> dict[str, Any]:
        if image not in self.places:
            raise ValueError(f"the scene graphs have no image {image!r:.40}")
        with self.path.open("rb") as file:
            return dict(read_at(file, *self.places[image]))


def _pairs(question: dict[str, Any], graphs: _SceneGraphs | None, config: GqaConfig) -> Iterator[ForeignPair]:
    yield ForeignPair(
        image=image_path(config.images, f"{question['imageId']}.jpg"),
        instruction=question["question"],
        kind=question.get("types", {}).get("structural") or "",
        held_out=config.held_out,
        targets=_targets(question, graphs),
    )


def _targets(question: dict[str, Any], graphs: _SceneGraphs | None) -> tuple[Target, ...] | None:
    """Boxes of every object that the question, the answer or the full answer names; () where all it names is absent.

    In `semantic` an argument "cup (-)" is a cup that the scene graph does not have. Questions about the whole scene
    name no object and stay unlabeled.
    """
    named = [ids for part in ("question", "answer", "fullAnswer") for ids in _annotated(question, part)]
    if not named:
        absent = any(step["argument"].endswith("(-)") for step in question.get("semantic") or ())
        return () if absent else None
    if graphs is None:
        return None
    graph = graphs.graph(question["imageId"])
    things, size = graph["objects"], image_size(graph)
    if missing := [name for name in named if name not in things]:
        raise ValueError(f"the scene graph of image {question['imageId']} has no object {missing[0]!r}")
    sized = {"size": list(size)} if size else {}
    return tuple(box_target(*(things[name][side] for side in "xywh")) | sized for name in dict.fromkeys(named))


def _annotated(question: dict[str, Any], part: str) -> list[str]:
    return list(((question.get("annotations") or {}).get(part) or {}).values())
