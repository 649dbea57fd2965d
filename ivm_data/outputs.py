"""What each command writes, and how it knows its own work again; `storage.outputs` has the rule."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from storage import outputs
from storage.outputs import Output, has_mark, is_marked, read_json

FIGURE, MASK, REPORT, STORY, SHEET = "ivm figure", "ivm mask", "ivm report", "ivm explain", "ivm gate"
"""Written into the files that these commands write."""

_CHECKPOINT = {"README.md", "config.json", "discriminators.safetensors", "model.safetensors", "state", "tb"}
_JUDGE = {"README.md", "judge.json", "judge.safetensors"}
_CONVERTED = "converted_from"
"""A fact about checkpoints that were not trained here."""
_OLD_REPORT = "--no-target: #6d86b5"
"""In the style sheet of reports that do not say yet who wrote them."""


def check(name: str, out: Path, data: Path | None = None, inputs: Iterable[Path] = ()) -> None:
    """Refuse an output path that a command must not write, before any work; see `storage.outputs.check`.

    Args:
        name: one of `OUTPUTS`.
    """
    outputs.check(OUTPUTS[name], out, data, inputs)


def _is_checkpoint(folder: Path) -> bool:
    """A model with its card, or what a training leaves that is not done yet, and nothing else."""
    config, states, logs = read_json(folder / "config.json"), folder / "state", folder / "tb"
    is_begun = any(states.glob("[0-9]*/state.json")) or any(logs.glob("events.out.tfevents.*"))
    whole = {"base_models", "weights", "model"} <= config.keys() or (is_begun and not config)
    return whole and {path.name for path in folder.iterdir()} <= _CHECKPOINT


def _is_trained(folder: Path) -> bool:
    return _is_checkpoint(folder) and not _is_converted(folder)


def _is_converted(folder: Path) -> bool:
    facts = read_json(folder / "config.json").get("training")
    return _is_checkpoint(folder) and isinstance(facts, dict) and _CONVERTED in facts


def _is_expert(folder: Path) -> bool:
    return has_mark(folder / "README.md", "Trained from nothing in ") and (folder / "config.json").is_file()


def _is_world(folder: Path) -> bool:
    """Marked, or of before worlds were marked."""
    return is_marked(folder, "ivm world") or has_mark(folder / "manifest.jsonl", '{"id": "world-')


def _is_scores(path: Path) -> bool:
    return has_mark(path, "# Masks on ") or {"manifest", "overall", "samples"} <= read_json(path).keys()


def _is_answers(path: Path) -> bool:
    return has_mark(path, "# Answers of ") or {"lmm", "mode", "views"} <= read_json(path).keys()


def _is_judge(folder: Path) -> bool:
    return {path.name for path in folder.iterdir()} <= _JUDGE and {"taught", "features"} <= read_json(
        folder / "judge.json"
    ).keys()


def _is_calibration(path: Path) -> bool:
    return {"mask", "absent", "proposers", "rows"} <= read_json(path).keys()


OUTPUTS = {
    "train": Output("a checkpoint of 'ivm train'", _is_trained, folder=True),
    "convert": Output("a checkpoint of 'ivm convert'", _is_converted, folder=True),
    "zoo": Output("an expert of 'ivm zoo train'", _is_expert, folder=True),
    "world": Output("a world of 'ivm world'", _is_world, folder=True),
    "search-world": Output(
        "a folder of 'ivm search-world'", lambda folder: is_marked(folder, "ivm search-world"), folder=True
    ),
    "masks": Output("a folder of 'ivm mask'", lambda folder: is_marked(folder, MASK), folder=True),
    "mask": Output("an image of 'ivm mask'", lambda path: has_mark(path, MASK)),
    "report": Output(
        "a report of 'ivm report'", lambda path: has_mark(path, REPORT, _OLD_REPORT), endings=(".html", ".htm")
    ),
    "explain": Output("a picture of 'ivm explain'", lambda path: has_mark(path, STORY), endings=(".png",)),
    "gate": Output("a contact sheet of 'ivm gate'", lambda path: has_mark(path, SHEET), endings=(".png",)),
    "figure": Output("a figure of 'ivm figure'", lambda path: has_mark(path, FIGURE)),
    "evaluate": Output("a table of 'ivm evaluate'", _is_scores),
    "vstar": Output("a table of 'ivm vstar'", _is_answers),
    "calibrate": Output("a calibration of 'ivm calibrate'", _is_calibration, endings=(".json",)),
    "judge": Output("a judge of 'ivm train-judge'", _is_judge, folder=True),
    "manifest": Output("a manifest", None),
    "data set": Output("a data set", lambda _: True, folder=True),
}
"""Every output by name, but for exports, which know themselves (`ivm_data.exports.run`). Labels are added to a data
set, so that any folder may become one."""
