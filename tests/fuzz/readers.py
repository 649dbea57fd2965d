"""How each input is read: the functions that targets run, with what must hold of what they read."""

from __future__ import annotations

import importlib.util
import io
import shutil
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from hypothesis import strategies as st
from inputs import MASK, SIZE, changed, png

from ivm_data.exports.run import Selection, _choose
from ivm_data.quality.calibration import Calibration
from ivm_data.recipes.labeling_recipes import recipe
from ivm_data.sources.foreign.common.plain_pickle import load_plain
from ivm_data.sources.human_mask import human_label
from ivm_data.sources.manifest import plan, read_part
from storage.catalog import Catalog
from storage.data_set import DataSet
from storage.parts.layout import HEAVY, LIGHT
from storage.parts.shards import commit_part
from storage.pixels.images import ImageLimits, decode
from storage.records import Scores

RECIPE = "3f9c0a51d2e7"


@cache
def builders() -> ModuleType:
    """`tests/storage/builders.py`; tests have no packages to import it from."""
    path = Path(__file__).parents[1] / "storage" / "builders.py"
    spec = importlib.util.spec_from_file_location("storage_builders", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def written(folder: Path, name: str, data: bytes) -> Path:
    (folder / name).write_bytes(data)
    return folder / name


def images(folder: Path) -> Path:
    """A root with the pictures that records name."""
    root = folder / "root"
    if not root.is_dir():
        root.mkdir()
        written(root, "a.png", png())
        written(root, "mask.png", MASK)
    return root


def labeled(folder: Path) -> Path:
    """A small data set."""
    data = folder / "data"
    if not data.is_dir():
        commit_part(data, builders().make_part(rows=12, recipe=RECIPE))
    return data


def read_manifest(name: str, data: bytes, folder: Path) -> None:
    parts = plan(written(folder, name, data), 2)
    outcomes = [outcome for part in parts for outcome in read_part(part, images(folder))]
    assert len(outcomes) == sum(part.records for part in parts)


def committed() -> dict[str, bytes]:
    """The files of a small data set by their ending."""
    with tempfile.TemporaryDirectory() as folder:
        data = labeled(Path(folder))
        return {ending: next(data.rglob(f"*{ending}")).read_bytes() for ending in (LIGHT, HEAVY)}


def damaged() -> st.SearchStrategy[tuple[str, bytes]]:
    """The ending of a file, and what is in it instead."""
    return st.one_of([st.tuples(st.just(ending), changed(data)) for ending, data in committed().items()])


def read_damaged_part(change: tuple[str, bytes], folder: Path) -> None:
    """A data set one of whose files has other bytes."""
    ending, data = change
    copy = folder / "damaged"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(labeled(folder), copy)
    if ending:
        next(copy.rglob(f"*{ending}")).write_bytes(data)
    with Catalog(copy) as catalog:
        catalog.query("summary")
        catalog.sql("SELECT * FROM outcomes")
        catalog.sql("SELECT * FROM masks")
    with DataSet.open(copy) as data:
        for _ in data.labels():
            pass


def read_calibration(data: bytes, folder: Path) -> None:
    calibration = Calibration.load(written(folder, "calibration.json", data))
    for scores in (Scores(), Scores(presence=0.5, grounding=1.0, margin=-1e9, area_ratio=0.0)):
        for absent in (True, False):
            assert 0 <= calibration.quality(scores, absent) <= 1


def read_pickle(data: bytes, folder: Path) -> None:
    load_plain(written(folder, "x.p", data))


def read_mask(given: Any, folder: Path) -> None:
    targets, mask, picture = given
    written(images(folder), "mask.png", picture)
    label = human_label(targets, mask, SIZE, images(folder))
    assert label.mask is None or (label.mask.height, label.mask.width) == SIZE
    assert all(0 <= b.x0 < b.x1 <= SIZE[1] and 0 <= b.y0 < b.y1 <= SIZE[0] for b in label.boxes)


def choose(where: str, folder: Path) -> None:
    """Whatever the condition, only accepted labels that a choice without it has."""
    selection = Selection(("accepted",), RECIPE)
    with DataSet.open(labeled(folder)) as data:
        every = _choose(data, selection)["sample_id"].to_pylist()
        assert set(_choose(data, replace(selection, where=where))["sample_id"].to_pylist()) <= set(every)


def change(changes: list[tuple[str, Any]], folder: Path) -> None:
    recipe("demo", dict(changes))


def read_image(data: bytes, folder: Path) -> None:
    image_HWC = decode(data, ImageLimits(max_pixels=1_000_000))
    assert image_HWC.ndim == 3 and image_HWC.shape[2] == 3 and image_HWC.dtype == "uint8"


def load_pth(data: bytes, folder: Path) -> None:
    from ivm_model.model.torch_file import read_tensors

    read_tensors(written(folder, "model.pth", data), "copy it again")


def load_safetensors(data: bytes, folder: Path) -> None:
    from ivm_model.model.checkpoint import WEIGHTS, _read_weights, tensor_hash

    written(folder, WEIGHTS, data)
    _read_weights(folder, tensor_hash(weights()))


@cache
def weights() -> dict[str, Any]:
    import torch

    return {"layer.weight": torch.arange(12.0).reshape(3, 4), "layer.bias": torch.ones(3)}


@cache
def pth() -> bytes:
    import torch

    file = io.BytesIO()
    torch.save(weights(), file)
    return file.getvalue()


@cache
def old_pth() -> bytes:
    import torch

    file = io.BytesIO()
    torch.save({"model": weights()}, file, _use_new_zipfile_serialization=False)
    return file.getvalue()


@cache
def safetensors() -> bytes:
    from safetensors.torch import save

    return save(weights())
