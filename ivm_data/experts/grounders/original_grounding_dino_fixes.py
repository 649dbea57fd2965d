"""What groundingdino-py 0.4.0 needs from outside to be right on transformers 5; the package itself is not edited.

Three things are wrong with it there, and each has one remedy here, applied by `build_model`:

- `BertModelWarper` takes methods from BertModel that transformers 5 no longer has. `text_encoder` keeps the plain
  BertModel, under the same tensor names, and turns the 3-D boolean mask into the additive 4-D one that it reads.
- A text layer repeats the mask of a batch over its heads as `repeat` does (mask 0, 1, 0, 1), while attention counts
  heads fastest (0, 0, 1, 1): captions that differ are read with each other's masks. `mask_each_head` lays them out.
- It downloads BERT's weights and then overwrites them with its own checkpoint. Here only BERT's sizes are read.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_building = threading.Lock()


def build_model(architecture: Mapping[str, Any], bert_config: Any, tokenizer: Any) -> Any:
    """A GroundingDINO with random weights, in evaluation mode.

    Args:
        architecture: the fields of a native config file.
        bert_config: a `transformers.BertConfig`.
        tokenizer: BERT's, as `transformers` loads it.
    """
    from groundingdino.models import build_model as build
    from groundingdino.util.slconfig import SLConfig

    # Recomputing activations saves memory in training only.
    inference = {"use_checkpoint": False, "use_transformer_ckpt": False}
    with _remedied(bert_config, tokenizer):
        model = build(SLConfig({**architecture, **inference}))
    for layer in model.transformer.encoder.text_layers:
        mask_each_head(layer)
    return model.eval()


def text_encoder(bert_model: Any) -> Any:
    """The BertModel itself, made to read a 3-D boolean `attention_mask` (B, T, T), true where a token may look."""
    bert_model.register_forward_pre_hook(_additive_mask, with_kwargs=True)
    return bert_model


def mask_each_head(layer: Any) -> None:
    """Make a native text layer read `src_mask` (B, T, T), true where a token may not look, for each image's own."""
    layer.register_forward_pre_hook(_interleaved_mask, with_kwargs=True)


def _additive_mask(bert_model: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """0 where a token may look and the least float elsewhere; a boolean 4-D mask is wrong under eager attention."""
    import torch

    mask = kwargs["attention_mask"]
    if mask.dim() != 3:
        return args, kwargs
    mask_B1TT = torch.zeros(mask.shape, dtype=bert_model.dtype, device=mask.device)
    mask_B1TT = mask_B1TT.masked_fill(~mask.bool(), torch.finfo(bert_model.dtype).min)[:, None]
    return args, {**kwargs, "attention_mask": mask_B1TT}


def _interleaved_mask(layer: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """(B, T, T) -> (B * heads, T, T), which `nn.MultiheadAttention` reads and the layer then leaves alone."""
    mask_BTT: torch.Tensor = kwargs["src_mask"]
    return args, {**kwargs, "src_mask": mask_BTT.repeat_interleave(layer.nhead, dim=0)}


@contextmanager
def _remedied(bert_config: Any, tokenizer: Any) -> Iterator[None]:
    """While a model is built: our text encoder, and a BERT without a download, in the package's namespace."""
    from groundingdino.models.GroundingDINO import groundingdino as native
    from transformers import BertModel

    ours = {
        "BertModelWarper": text_encoder,
        "get_tokenlizer": SimpleNamespace(
            get_tokenlizer=lambda _: tokenizer, get_pretrained_language_model=lambda _: BertModel(bert_config)
        ),
    }
    with _building:
        theirs = {name: getattr(native, name) for name in ours}
        vars(native).update(ours)
        try:
            yield
        finally:
            vars(native).update(theirs)
