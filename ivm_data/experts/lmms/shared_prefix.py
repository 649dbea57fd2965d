"""What questions about one image have in common passes through an LMM once: the vision tower, and all tokens before
the first that differ. The rest of each question then reads the keys and values of that prefix from a cache."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

MODEL_TYPES = frozenset({"llava", "llava_next", "llava_onevision", "smolvlm"})
"""Models whose tokens look back only, at plain positions 0, 1, 2, ...: Qwen-VL counts an image's in three dimensions,
Gemma 3 and PaliGemma let its tokens look ahead."""

LEAST_SAVED = 128
"""Tokens in a batch; fewer do not pay for passing through the model twice."""

_OF_IMAGES = frozenset({"pixel_values", "image_sizes", "pixel_attention_mask", "batch_num_images"})
"""Inputs with one row an image."""


def by_image(images: Sequence[Any]) -> list[int]:
    """Positions of the images in an order in which the same object follows itself; else as they come."""
    first: dict[int, int] = {}
    return sorted(range(len(images)), key=lambda i: first.setdefault(id(images[i]), i))


def can_share(model: Any) -> bool:
    """Whether a prefix's cache can be given to several rows of a batch."""
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer

    if model.config.model_type not in MODEL_TYPES:
        return False
    layers = DynamicCache(config=model.config.get_text_config()).layers
    return all(type(layer) is DynamicLayer for layer in layers)


def last_logits(model: Any, inputs: Any, images: Sequence[Hashable]) -> torch.Tensor:
    """Logits (B, V) after the last token of each row, by the shared prefixes where that pays.

    Args:
        model: for which `can_share` is true or false.
        inputs: its left-padded inputs, one image a row.
        images: rows with equal entries have the same image.
    """
    rows = [
        ids[is_token].tolist() for ids, is_token in zip(inputs["input_ids"], inputs["attention_mask"] > 0, strict=True)
    ]
    groups = list(dict.fromkeys(images))
    group_of_row = [groups.index(image) for image in images]
    members = [[row for row, g in zip(rows, group_of_row, strict=True) if g == group] for group in range(len(groups))]
    prefixes = [_common(group) for group in members]
    if not (_pays(members, prefixes) and can_share(model) and _splits(model, inputs, members, prefixes)):
        logits_RV: torch.Tensor = model(**inputs, logits_to_keep=1).logits[:, -1]
        return logits_RV
    suffixes = [row[len(prefixes[group]) :] for row, group in zip(rows, group_of_row, strict=True)]
    return _by_prefix(model, inputs, prefixes, suffixes, group_of_row)


def _common(rows: Sequence[list[int]]) -> list[int]:
    """What all begin with, without anyone's last token: that must still pass through the model."""
    least, most = min(rows), max(rows)  # In their order, the two that have the least in common.
    longest = min(map(len, rows)) - 1
    return least[: next((i for i in range(longest) if least[i] != most[i]), longest)]


def _pays(members: Sequence[Sequence[list[int]]], prefixes: Sequence[list[int]]) -> bool:
    saved = sum((len(group) - 1) * len(prefix) for group, prefix in zip(members, prefixes, strict=True))
    return saved >= LEAST_SAVED


def _splits(model: Any, inputs: Any, members: Sequence[Sequence[list[int]]], prefixes: Sequence[list[int]]) -> bool:
    """Whether each row's image lies in its prefix, and all other inputs have a row an image."""
    others = inputs.keys() - {"input_ids", "attention_mask"}
    if others - _OF_IMAGES or any(len(inputs[name]) != len(inputs["input_ids"]) for name in others):
        return False
    rests = (row[len(prefix) :] for group, prefix in zip(members, prefixes, strict=True) for row in group)
    return not any(model.config.image_token_id in rest for rest in rests)


def _by_prefix(
    model: Any,
    inputs: Any,
    prefixes: Sequence[list[int]],
    suffixes: Sequence[list[int]],
    group_of_row: Sequence[int],
) -> torch.Tensor:
    import torch
    from transformers import DynamicCache

    device = inputs["input_ids"].device
    fill = suffixes[0][-1]
    firsts = [group_of_row.index(group) for group in range(len(prefixes))]
    cache = DynamicCache(config=model.config.get_text_config())
    prefix_GT, is_prefix_GT = _left_padded(prefixes, fill, device)
    model(
        input_ids=prefix_GT,
        attention_mask=is_prefix_GT,
        position_ids=_positions(is_prefix_GT),
        past_key_values=cache,
        logits_to_keep=1,
        **{name: inputs[name][firsts] for name in inputs.keys() & _OF_IMAGES},
    )
    group_B = torch.tensor(group_of_row, device=device)
    cache.batch_select_indices(group_B)
    suffix_BT, is_suffix_BT = _left_padded(suffixes, fill, device)
    is_token_BT = torch.cat([is_prefix_GT[group_B], is_suffix_BT], 1)
    out = model(
        input_ids=suffix_BT,
        attention_mask=is_token_BT,
        position_ids=_positions(is_token_BT)[:, -suffix_BT.shape[1] :],
        past_key_values=cache,
        logits_to_keep=1,
    )
    logits_RV: torch.Tensor = out.logits[:, -1]
    return logits_RV


def _left_padded(rows: Sequence[list[int]], fill: int, device: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask (B, T)."""
    import torch

    length = max(map(len, rows))
    ids = [[fill] * (length - len(row)) + row for row in rows]
    mask = [[0] * (length - len(row)) + [1] * len(row) for row in rows]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


def _positions(is_token_BT: torch.Tensor) -> torch.Tensor:
    return (is_token_BT.cumsum(1) - 1).clamp_min(0)
