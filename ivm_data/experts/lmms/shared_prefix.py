"""What questions about one image have in common passes through an LMM once: the vision tower, and all tokens before
the first that differ. The rest of each question then reads the keys and values of that prefix from a cache."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

PLAIN_TYPES = frozenset({"llava", "llava_next", "llava_onevision", "smolvlm"})
"""Models whose tokens look back only, at plain positions 0, 1, 2, ...; Gemma and PaliGemma let some look ahead."""
ROTARY_3D_TYPES = frozenset({"qwen2_vl", "qwen2_5_vl", "qwen3_vl", "glm4v", "glm46v"})
"""Models whose tokens look back only, at positions in three dimensions: an image's by time, row and column, and the
text behind it goes on in all three from the largest of them, whatever that text is."""

LEAST_SAVED = 128
"""Tokens in a batch; fewer do not pay for passing through the model twice."""

_OF_IMAGES = frozenset({"pixel_values", "image_sizes", "pixel_attention_mask", "batch_num_images"})
"""Inputs of the first kind with one row an image. Those of the second are `pixel_values`, a row a patch, and the grids
of patches, a row an image."""


def by_image(images: Sequence[Any]) -> list[int]:
    """Positions of the images in an order in which the same object follows itself; else as they come."""
    first: dict[int, int] = {}
    return sorted(range(len(images)), key=lambda i: first.setdefault(id(images[i]), i))


def can_share(model: Any) -> bool:
    """Whether a prefix's cache can be given to several rows of a batch."""
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer

    if model.config.model_type not in PLAIN_TYPES | ROTARY_3D_TYPES:
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
    """Whether each row's image lies in its prefix, and all other inputs are of images, one a row."""
    others = inputs.keys() - {"input_ids", "attention_mask"}
    by_image = others
    if _is_rotary_3d(model):
        if others != {"pixel_values", "image_grid_thw", "mm_token_type_ids"}:
            return False
        by_image = {"image_grid_thw"}
    elif others - _OF_IMAGES:
        return False
    if any(len(inputs[name]) != len(inputs["input_ids"]) for name in by_image):
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
    images = _images(model, inputs, [group_of_row.index(group) for group in range(len(prefixes))])
    cache = DynamicCache(config=model.config.get_text_config())
    prefix_GT, is_prefix_GT = _left_padded(prefixes, fill, device)
    model(
        input_ids=prefix_GT,
        attention_mask=is_prefix_GT,
        position_ids=_positions(model, prefix_GT, is_prefix_GT, images.get("image_grid_thw")),
        past_key_values=cache,
        logits_to_keep=1,
        **images,
    )
    group_B = torch.tensor(group_of_row, device=device)
    cache.batch_select_indices(group_B)
    suffix_BT, is_suffix_BT = _left_padded(suffixes, fill, device)
    token_BT = torch.cat([prefix_GT[group_B], suffix_BT], 1)
    is_token_BT = torch.cat([is_prefix_GT[group_B], is_suffix_BT], 1)
    grids = images["image_grid_thw"][group_B] if "image_grid_thw" in images else None
    out = model(
        input_ids=suffix_BT,
        attention_mask=is_token_BT,
        position_ids=_positions(model, token_BT, is_token_BT, grids)[..., -suffix_BT.shape[1] :],
        past_key_values=cache,
        logits_to_keep=1,
    )
    logits_RV: torch.Tensor = out.logits[:, -1]
    return logits_RV


def _images(model: Any, inputs: Any, rows: list[int]) -> dict[str, torch.Tensor]:
    """The inputs of some rows' images."""
    import torch

    if not _is_rotary_3d(model):
        return {name: inputs[name][rows] for name in inputs.keys() & _OF_IMAGES}
    grids = inputs["image_grid_thw"]
    patches = inputs["pixel_values"].split(grids.prod(1).tolist())
    return {"pixel_values": torch.cat([patches[row] for row in rows]), "image_grid_thw": grids[rows]}


def _left_padded(rows: Sequence[list[int]], fill: int, device: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask (B, T)."""
    import torch

    length = max(map(len, rows))
    ids = [[fill] * (length - len(row)) + row for row in rows]
    mask = [[0] * (length - len(row)) + [1] * len(row) for row in rows]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


def _positions(model: Any, token_BT: torch.Tensor, is_token_BT: torch.Tensor, grids: Any) -> torch.Tensor:
    """Position of each token, (B, T), or (3, B, T) as the model itself counts where it counts in three dimensions."""
    if not _is_rotary_3d(model):
        return (is_token_BT.cumsum(1) - 1).clamp_min(0)
    is_image_BT = ((token_BT == model.config.image_token_id) & (is_token_BT > 0)).int()
    found: torch.Tensor = model.model.get_rope_index(
        token_BT, mm_token_type_ids=is_image_BT, image_grid_thw=grids, attention_mask=is_token_BT
    )[0]
    return found


def _is_rotary_3d(model: Any) -> bool:
    return model.config.model_type in ROTARY_3D_TYPES
