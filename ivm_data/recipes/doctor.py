"""What a recipe needs on this machine, what is here, and the command that gets what is missing."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from ivm_data.experts.registry import ExpertSpec, configured, create, embedded
from ivm_data.recipes.labeling_recipes import Recipe
from ivm_model.model.base_models import HUB_ID
from storage.errors import IvmError

PACKAGES = (
    "torch", "torchvision", "transformers", "segment-anything", "groundingdino-py", "openai", "prefect",
    "duckdb", "pyarrow",
)  # fmt: skip
DOWNLOADS = {
    "groundingdino_swint_ogc.pth": "https://github.com/IDEA-Research/GroundingDINO/releases/download/v0.1.0-alpha/",
    "groundingdino_swinb_cogcoor.pth": "https://github.com/IDEA-Research/GroundingDINO/releases/download/v0.1.0-alpha2/",
    "sam_vit_h_4b8939.pth": "https://dl.fbaipublicfiles.com/segment_anything/",
    "sam_vit_l_0b3195.pth": "https://dl.fbaipublicfiles.com/segment_anything/",
    "sam_vit_b_01ec64.pth": "https://dl.fbaipublicfiles.com/segment_anything/",
}
"""Where the original projects publish their files."""
SECONDARY = ("text_encoder", "sam", "lmm")
"""Options beside `path` that name a further checkpoint; "" where the expert knows better."""
_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2, "F64": 8, "F32": 4, "F16": 2, "BF16": 2}

State = Literal["ready", "missing", "broken", "not asked"]


@dataclass(frozen=True)
class Finding:
    """One checkpoint or server that a recipe needs.

    Attributes:
        role: the recipe's field, dotted as `--set` takes it.
        what: path, hub id or URL.
        mib: size of its weight files; None where it is not here, or serves elsewhere.
        memory_mib: what the weights take once loaded in the recipe's dtype, without activations.
        advice: the command or the change that fixes it; "" where nothing is wrong.
    """

    role: str
    expert: str
    what: str
    device: str
    dtype: str
    state: State
    mib: float | None = None
    memory_mib: float | None = None
    advice: str = ""


def versions() -> dict[str, str]:
    """Python and the packages that experts are made of; "not installed" where one is missing."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def examine(recipe: Recipe) -> list[Finding]:
    """Everything the recipe's experts need, without loading a model or asking a server."""
    asked = [(role, getattr(recipe, role)) for role in ("rewriter", "grounder", "segmenter", "verifier")]
    asked += [(f"proposers.{place}", spec) for place, spec in enumerate(recipe.proposers)]
    return [finding for role, spec in asked for finding in _expert(role, spec)]


def _expert(role: str, spec: ExpertSpec) -> Iterator[Finding]:
    for part, used in spec.uses.items():
        yield from _expert(f"{role}.uses.{part}", used)
    options = dict(spec.options)
    device, dtype = str(options.get("device", "cpu")), str(options.get("dtype", "float32"))
    if mistake := _mistake(role, spec, device):
        yield Finding(role, spec.expert, str(options.get("path", "")), device, dtype, "broken", advice=mistake)
    if url := options.get("base_url"):
        yield Finding(role, spec.expert, f"{options.get('model')} at {url}", "remote", "", "not asked")
        return
    for name in ("path", *SECONDARY):
        if where := options.get(name):
            revision = str(options.get("revision", "")) if name == "path" else ""
            yield _weights(role, spec.expert, str(where), device, dtype, revision=revision)


def _mistake(role: str, spec: ExpertSpec, device: str) -> str:
    """Why the expert cannot run here, whatever its weights; "" where it can."""
    try:
        configured(spec) if spec.uses else create(spec)
    except (IvmError, ValueError) as error:
        return str(error)
    except ImportError as error:
        return f"install what it imports: {error}"
    return "" if _has(device) else f"no device {device!r} here; --set {role}.options.device=cpu runs it without"


@cache
def _has(device: str) -> bool:
    import torch

    return not device.startswith("cuda") or torch.cuda.is_available()


def _weights(role: str, expert: str, where: str, device: str, dtype: str, *, revision: str) -> Finding:
    path = Path(embedded(where))
    path = path if path.exists() else _cached(where, revision)
    files = _files(path)
    advice = _how_to_get(where, revision)
    if lacking := _lacking(path):
        lost = f"{len(lacking)} weight files are not there, first {lacking[0]!r}; {advice}"
        return Finding(role, expert, where, device, dtype, "broken", advice=lost)
    if not files:
        return Finding(role, expert, where, device, dtype, "missing", advice=advice)
    size = sum(file.stat().st_size for file in files)
    memory = sum(_loaded_bytes(file, _BYTES.get(dtype, 4)) for file in files)
    return Finding(role, expert, where, device, dtype, "ready", size / 2**20, memory / 2**20)


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted([*path.glob("*.safetensors"), *path.glob("*.bin")])


def _lacking(path: Path) -> list[str]:
    """Weight files that a sharded checkpoint names and that are not there, as after a download that was cut."""
    named = {
        file for index in path.glob("*.index.json") for file in json.loads(index.read_text())["weight_map"].values()
    }
    return sorted(file for file in named if not (path / file).exists())


def _cached(repository: str, revision: str) -> Path:
    """Folder of a hub id that was downloaded before; a folder that does not exist where it was not."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(repository, revision=revision or None, local_files_only=True))
    except (HFValidationError, LocalEntryNotFoundError):
        return Path(repository)


def _loaded_bytes(file: Path, bytes_each: int) -> int:
    """Bytes of the file's tensors in another dtype; a `.pth` is taken for float32."""
    if file.suffix != ".safetensors":
        return file.stat().st_size * bytes_each // 4
    with file.open("rb") as stream:
        head = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
    tensors = [tensor for name, tensor in head.items() if name != "__metadata__"]
    return sum(
        (tensor["data_offsets"][1] - tensor["data_offsets"][0]) * bytes_each // _BYTES.get(tensor["dtype"], bytes_each)
        for tensor in tensors
    )


def _how_to_get(where: str, revision: str) -> str:
    path = Path(where)
    if path.name in DOWNLOADS:
        return f"curl -L --create-dirs -o {where} {DOWNLOADS[path.name]}{path.name}"
    if HUB_ID.fullmatch(where) and path.suffix not in (".pth", ".py", ".bin"):
        return f"hf download {where}" + (f" --revision {revision}" if revision else "")
    return "put the checkpoint there, or give another 'path'"
