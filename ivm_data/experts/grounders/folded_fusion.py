"""Grounding DINO's attention between image and text without projecting the image, which is much longer than the text.

An image token's logit for a text token is linear in the image token: the projections of both fold into one vector for
each text token and head. So do those of the text's values, and the image's values are projected after the sum over the
image instead of before. Same function; per image token 3 * heads * T * width products instead of 3 * width * inner.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_LIMIT = 50_000
"""Logits are cut there, as in the original."""


@dataclass(frozen=True)
class FoldedFusion:
    """Bidirectional cross-attention.

    Attributes:
        image_query, text_key, image_value, text_value, image_out, text_out: linear layers.
        heads: of the attention.
        scale: of the logits.
    """

    image_query: Any
    text_key: Any
    image_value: Any
    text_value: Any
    image_out: Any
    text_out: Any
    heads: int
    scale: float

    def __call__(
        self,
        image_BNC: torch.Tensor,
        text_BTC: torch.Tensor,
        ignored_BN: torch.Tensor | None,
        ignored_BT: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What each image token takes from the text, and each text token from the image, (B, N, C) and (B, T, C)."""
        import torch

        # In the weights' precision, whatever autocast says: folded, this is no longer worth rounding for.
        exact = self.text_key.weight.dtype
        with torch.autocast(image_BNC.device.type, enabled=False):
            for_image_BNC, for_text_BTC = self._both(image_BNC.to(exact), text_BTC.to(exact), ignored_BN, ignored_BT)
        return for_image_BNC.to(image_BNC.dtype), for_text_BTC.to(text_BTC.dtype)

    def _both(
        self,
        image_BNC: torch.Tensor,
        text_BTC: torch.Tensor,
        ignored_BN: torch.Tensor | None,
        ignored_BT: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        logit_BNHT = self._logits(image_BNC, text_BTC)
        for_text_BNHT = (logit_BNHT - logit_BNHT.amax(1, keepdim=True)).clamp_(min=-_LIMIT)
        if ignored_BN is not None:
            for_text_BNHT.masked_fill_(ignored_BN[:, :, None, None], float("-inf"))
        if ignored_BT is not None:
            logit_BNHT.masked_fill_(ignored_BT[:, None, None, :], float("-inf"))
        seen_BHTC = (for_text_BNHT.softmax(1).flatten(2).transpose(1, 2) @ image_BNC).unflatten(1, (self.heads, -1))
        return self._for_image(logit_BNHT.softmax(-1), text_BTC), self._for_text(seen_BHTC)

    def _logits(self, image_BNC: torch.Tensor, text_BTC: torch.Tensor) -> torch.Tensor:
        key_BHTd = self._split(self.text_key(text_BTC)) * self.scale
        key_BHTC = key_BHTd @ self._of_heads(self.image_query.weight)
        bias_BHT = (key_BHTd @ self._of_heads(self.image_query.bias)[..., None])[..., 0]
        logit_BNK = image_BNC @ key_BHTC.flatten(1, 2).transpose(1, 2) + bias_BHT.flatten(1)[:, None]
        logit_BNHT: torch.Tensor = (logit_BNK - logit_BNK.max()).clamp_(min=-_LIMIT).unflatten(2, (self.heads, -1))
        return logit_BNHT

    def _for_image(self, share_BNHT: torch.Tensor, text_BTC: torch.Tensor) -> torch.Tensor:
        out_HdC = self._of_heads(self.image_out.weight.T)
        value_BHTC = self._split(self.text_value(text_BTC)) @ out_HdC
        out_BNC: torch.Tensor = share_BNHT.flatten(2) @ value_BHTC.flatten(1, 2) + self.image_out.bias
        return out_BNC

    def _for_text(self, sum_BHTC: torch.Tensor) -> torch.Tensor:
        value_HCd = self._of_heads(self.image_value.weight).transpose(1, 2)
        # Shares of the image sum to 1, so that its values' bias comes out whole.
        value_BHTd = sum_BHTC @ value_HCd + self._of_heads(self.image_value.bias)[:, None]
        out_BTC: torch.Tensor = self.text_out(value_BHTd.transpose(1, 2).flatten(2))
        return out_BTC

    def _split(self, tokens_BTE: torch.Tensor) -> torch.Tensor:
        tokens_BTHd: torch.Tensor = tokens_BTE.unflatten(2, (self.heads, -1))
        return tokens_BTHd.transpose(1, 2)

    def _of_heads(self, weight_E: torch.Tensor) -> torch.Tensor:
        weight_Hd: torch.Tensor = weight_E.unflatten(0, (self.heads, -1))
        return weight_Hd


def fold_fusion(encoder: Any) -> None:
    """For the encoder of a Grounding DINO of transformers; attention weights are no longer returned."""
    for layer in encoder.layers:
        part = layer.fusion_layer.attn
        folded = FoldedFusion(
            part.vision_proj, part.text_proj, part.values_vision_proj, part.values_text_proj,
            part.out_vision_proj, part.out_text_proj, part.num_heads, part.scale,
        )  # fmt: skip
        part.forward = _with_weights(folded)


def _with_weights(folded: FoldedFusion) -> Any:
    def forward(
        vision_features: torch.Tensor,
        text_features: torch.Tensor,
        vision_attention_mask: torch.Tensor | None = None,
        text_attention_mask: torch.Tensor | None = None,
    ) -> tuple[tuple[torch.Tensor, None], tuple[torch.Tensor, None]]:
        image_BNC, text_BTC = folded(vision_features, text_features, vision_attention_mask, text_attention_mask)
        return (image_BNC, None), (text_BTC, None)

    return forward


def fold_native_fusion(encoder: Any) -> None:
    """The same for the original code."""
    for layer in encoder.fusion_layers:
        part = layer.attn
        folded = FoldedFusion(
            part.v_proj, part.l_proj, part.values_v_proj, part.values_l_proj,
            part.out_v_proj, part.out_l_proj, part.num_heads, part.scale,
        )  # fmt: skip
        part.forward = _without_weights(folded)


def _without_weights(folded: FoldedFusion) -> Any:
    def forward(
        v: torch.Tensor,
        l: torch.Tensor,  # noqa: E741
        attention_mask_v: torch.Tensor | None = None,
        attention_mask_l: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return folded(v, l, attention_mask_v, attention_mask_l)

    return forward
