"""What a recipe needs on this machine, what is here, and the command that gets what is missing."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from ivm_data.experts.registry import ExpertSpec, configured, embedded, unloaded
from ivm_data.recipes.labeling_recipes import Recipe
from ivm_data.recipes.published_weights import how_to_get, published
from ivm_data.recipes.weight_files import BYTES, cached, fault, files_of, loaded_bytes
from ivm_model.model.placement import device_of, dtype_of
from storage.errors import IvmError

PACKAGES = (
    "torch", "torchvision", "transformers", "segment-anything", "groundingdino-py", "timm", "openai", "prefect",
    "duckdb", "pyarrow",
)  # fmt: skip
SECONDARY = ("text_encoder", "sam", "lmm")
"""Options beside `path` that name a further checkpoint; "" where the expert knows better."""
AUTOCAST = (
    "grounding-dino", "mm-grounding-dino", "groundingdino",
    "sam", "sam2", "sam3-tracker", "edgetam", "segment-anything",
)  # fmt: skip
"""Experts whose `dtype` is that of the arithmetic: their weights stay float32."""
TEXT_ENCODER = ("config.json", "tokenizer_config.json", "tokenizer.json", "vocab.txt")
"""Files that a `text_encoder` consists of: its weights are in the grounder's own file."""
PUT_THERE = "put the checkpoint there, or give another 'path'"
FULL = 0.9
"""Share of a device's memory that weights may take: activations come on top."""

State = Literal["ready", "missing", "broken", "not asked"]


@dataclass(frozen=True)
class Finding:
    """One checkpoint or server that a recipe needs.

    Attributes:
        role: the recipe's field, dotted as `--set` takes it.
        what: path, hub id or URL.
        mib: size of its weight files, of missing ones as published; None where nobody knows, or it serves elsewhere.
        memory_mib: what the weights take once loaded, without activations.
        copy: the same for findings about one loaded copy.
        advice: the change that fixes it, or what is wrong with the files; "" where there is none.
        command: gets the files; "" where nothing is missing, or no command can get them.
    """

    role: str
    expert: str
    what: str
    device: str
    dtype: str
    state: State
    mib: float | None = None
    memory_mib: float | None = None
    copy: str = ""
    advice: str = ""
    command: str = ""

    @property
    def remedy(self) -> str:
        """What to do, in a line; "" where nothing is wrong."""
        return "; ".join(filter(None, (self.advice, self.command)))


@dataclass(frozen=True)
class Total:
    """What a recipe's weights take of a device's memory.

    Attributes:
        weights_mib: of every loaded copy.
        unknown: checkpoints whose size nobody knows here.
        memory_mib: what the device has; None where it is not here.
    """

    device: str
    weights_mib: float
    unknown: int
    memory_mib: float | None

    @property
    def fits(self) -> bool:
        """Whether the weights leave room for activations, as far as one can tell."""
        return self.memory_mib is None or self.weights_mib <= FULL * self.memory_mib


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
    asked = [("rewriter", recipe.rewriter), *((f"grounders.{i}", spec) for i, spec in enumerate(recipe.grounders))]
    asked += [("segmenter", recipe.segmenter), ("verifier", recipe.verifier)]
    asked += [(f"proposers.{i}", spec) for i, spec in enumerate(recipe.proposers)]
    asked += [("tracker", recipe.track.tracker)] if recipe.track.tracker else []
    return [finding for role, spec in asked for finding in _expert(role, spec)]


def totals(findings: Sequence[Finding]) -> list[Total]:
    """What the findings' weights take of each device, every loaded copy counted once."""
    copies = {(one.copy, one.what): one for one in findings if one.state in ("ready", "missing") and one.copy}
    devices = sorted({one.device for one in copies.values()})
    return [
        Total(
            device,
            sum(one.memory_mib or 0.0 for one in copies.values() if one.device == device),
            sum(one.memory_mib is None for one in copies.values() if one.device == device),
            device_memory_mib(device),
        )
        for device in devices
    ]


def _expert(role: str, spec: ExpertSpec) -> Iterator[Finding]:
    for part, used in spec.uses.items():
        yield from _expert(f"{role}.uses.{part}", used)
    options = {**spec.whole.options, **_defaults(spec)}
    device = device_of(str(options.get("device", "cpu")))
    dtype = dtype_of(str(options.get("dtype", "float32")), device)
    if mistake := _mistake(role, spec, device):
        yield Finding(role, spec.expert, str(options.get("path", "")), device, dtype, "broken", advice=mistake)
    if url := options.get("base_url"):
        yield Finding(role, spec.expert, f"{options.get('model')} at {url}", "remote", "", "not asked")
        return
    copy = json.dumps([spec.expert, options], sort_keys=True, default=str)
    for name in ("path", *SECONDARY):
        if where := str(options.get(name) or ""):
            found = Finding(role, spec.expert, where, device, dtype, "missing", copy=copy)
            revision = str(options.get("revision" if name == "path" else f"{name}_revision", ""))
            yield _text_encoder(found, revision) if name == "text_encoder" else _weights(found, revision)


def _defaults(spec: ExpertSpec) -> dict[str, Any]:
    """The expert's options as its config knows them, its defaults among them; none where the spec is mistaken."""
    try:
        expert, config = configured(spec)
    except (IvmError, ValueError, ImportError):
        return {}
    known = {field.name: getattr(config, field.name) for field in fields(config)} | dict(spec.whole.options)
    return known | expert.base_models(config) if hasattr(expert, "base_models") else known


def _mistake(role: str, spec: ExpertSpec, device: str) -> str:
    """Why the expert cannot run here, whatever its weights; "" where it can."""
    try:
        configured(spec) if spec.uses else unloaded(spec)
    except (IvmError, ValueError) as error:
        return str(error)
    except ImportError as error:
        return f"install what it imports: {error}"
    return "" if _has(device) else f"no device {device!r} here; --set {role}.options.device=cpu runs it without"


@cache
def _has(device: str) -> bool:
    import torch

    wanted = torch.device(device)
    return wanted.type != "cuda" or (wanted.index or 0) < torch.cuda.device_count()


def device_memory_mib(device: str) -> float | None:
    """MiB that a device has; None where it is not here."""
    import torch

    if device == "cpu":
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**20
    if torch.device(device).type != "cuda" or not torch.cuda.is_available():
        return None
    return torch.cuda.get_device_properties(device).total_memory / 2**20


def _here(where: str, revision: str) -> Path:
    path = Path(embedded(where))
    return path if path.exists() else cached(where, revision)


def _weights(found: Finding, revision: str) -> Finding:
    path, command = _here(found.what, revision), how_to_get(found.what, revision)
    bytes_each = 4 if found.expert in AUTOCAST else BYTES.get(found.dtype, 4)
    if wrong := fault(path):
        return replace(found, state="broken", advice=wrong if command else f"{wrong}; {PUT_THERE}", command=command)
    if files := files_of(path):
        size, memory = sum(file.stat().st_size for file in files), sum(loaded_bytes(f, bytes_each) for f in files)
        return replace(found, state="ready", mib=size / 2**20, memory_mib=memory / 2**20)
    found = replace(found, advice="" if command else PUT_THERE, command=command)
    if (known := published(found.what)) is None:
        return found
    size_mib, memory_mib = known.file_bytes / 2**20, known.loaded_bytes(bytes_each) / 2**20
    return replace(found, mib=size_mib, memory_mib=memory_mib)


def _text_encoder(found: Finding, revision: str) -> Finding:
    """Its configuration and tokenizer, which weigh nothing."""
    path = _here(found.what, revision)
    is_here = (path / TEXT_ENCODER[0]).is_file() and any((path / name).is_file() for name in TEXT_ENCODER[2:])
    command = "" if is_here else how_to_get(found.what, revision, " ".join(TEXT_ENCODER))
    return replace(found, state="ready" if is_here else "missing", mib=0.0, memory_mib=0.0, command=command)
