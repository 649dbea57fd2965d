"""Multi-scale deformable attention (Zhu et al., 2020, arXiv 2010.04159) on a CPU, as weighted sums of table rows.

What the libraries do there, `grid_sample` for each level on channel-first maps and a stack of all samples, was a third
of Grounding DINO's time. A bilinear sample is a weighted sum of four cells, so a query's 16 samples of a head are one
weighted sum of 64 rows, and torch has a kernel for just that: `embedding_bag`. Same sums, in another order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_NATIVE = "multi_scale_deformable_attn_pytorch"
_QUERIES = 512
"""At once: their indices and weights, 2 MB for 8 heads of 16 points, then stay in the cache."""


def sample_by_rows(model: Any) -> None:
    """Where a Grounding DINO of transformers runs on a CPU, let its deformable attention take rows."""
    for attention in (
        *(layer.deformable_layer.self_attn.attn for layer in model.encoder.layers),
        *(layer.encoder_attn.attn for layer in model.decoder.layers),
    ):
        attention.forward = _rows_on_cpu(attention.forward)


def _rows_on_cpu(plain: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    def forward(value: torch.Tensor, *others: Any) -> torch.Tensor:
        if value.device.type != "cpu":
            return plain(value, *others)
        _, sizes, _, location, weight, _ = others
        return sampled(value, sizes, location, weight)

    return forward


def sample_natively_by_rows(transformer: Any) -> None:
    """The same for the original code, whose attention calls a function of its module."""
    for attention in (
        *(layer.self_attn for layer in transformer.encoder.layers),
        *(layer.cross_attn for layer in transformer.decoder.layers),
    ):
        forward = type(attention).forward
        ours = {_NATIVE: _native_rows_on_cpu(forward.__globals__[_NATIVE])}
        copied = FunctionType(forward.__code__, {**forward.__globals__, **ours}, argdefs=forward.__defaults__)
        attention.forward = MethodType(copied, attention)


def _native_rows_on_cpu(plain: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    def forward(
        value: torch.Tensor, shapes: torch.Tensor, location: torch.Tensor, weight: torch.Tensor
    ) -> torch.Tensor:
        if value.device.type == "cpu":
            return sampled(value, shapes.tolist(), location, weight)
        return plain(value, shapes, location, weight)

    return forward


def sampled(
    value_BNHD: torch.Tensor,
    sizes: Sequence[tuple[int, int]],
    location_BQHLP2: torch.Tensor,
    weight_BQHLP: torch.Tensor,
) -> torch.Tensor:
    """Weighted sums of bilinear samples, zero outside a map, (B, Q, H * D) in the values' dtype.

    Args:
        value_BNHD: the cells of L maps, one map after the other, D channels for each of H heads.
        sizes: height and width of each map; N cells in all.
        location_BQHLP2: where P points of each map are taken, x and y, 0 and 1 being the map's outer borders.
        weight_BQHLP: of each point.
    """
    import torch

    batch, _, heads, width = value_BNHD.shape
    levels = _Levels(sizes, heads, location_BQHLP2.shape[4])
    table_BRD = levels.framed(value_BNHD.float())
    out_BQC = torch.empty(batch, location_BQHLP2.shape[1], heads * width)
    for row, table_RD in enumerate(table_BRD):
        for out_qC, location_qHLP2, weight_qHLP in zip(
            out_BQC[row].split(_QUERIES),
            location_BQHLP2[row].float().split(_QUERIES),
            weight_BQHLP[row].float().split(_QUERIES),
            strict=True,
        ):
            index_bK, weight_bK = levels.rows(location_qHLP2.flatten(2, 3), weight_qHLP.flatten(2))
            sum_bD = torch.nn.functional.embedding_bag(index_bK, table_RD, per_sample_weights=weight_bK, mode="sum")
            out_qC.copy_(sum_bD.view(out_qC.shape))
    return out_BQC.to(value_BNHD.dtype)


class _Levels:
    """A table with a row for each cell and head, in which a frame of zeros, one cell wide, surrounds each map."""

    def __init__(self, sizes: Sequence[tuple[int, int]], heads: int, points: int) -> None:
        import torch

        self.sizes, self.heads = sizes, heads
        self.starts = [0]
        for height, width in sizes:
            self.starts.append(self.starts[-1] + (height + 2) * (width + 2))
        # A point on the frame's far side has a neighbour beyond it, of weight 0, which must exist after the last map.
        self.cells = self.starts[-1] + sizes[-1][1] + 3

        def of_each_point(values: Sequence[int], dtype: torch.dtype = torch.float32) -> torch.Tensor:
            return torch.tensor(values, dtype=dtype).repeat_interleave(points)

        self.height_K = of_each_point([height for height, _ in sizes])
        self.width_K = of_each_point([width for _, width in sizes])
        self.pitch_K = of_each_point([width + 2 for _, width in sizes])
        self.below_K = of_each_point([heads * (width + 2) for _, width in sizes], torch.int32)
        origins = [heads * (start + width + 3) for start, (_, width) in zip(self.starts[:-1], sizes, strict=True)]
        self.origin_HK = of_each_point(origins, torch.int32) + torch.arange(heads, dtype=torch.int32)[:, None]

    def framed(self, value_BNHD: torch.Tensor) -> torch.Tensor:
        """The table of each image, (B, cells * heads, D)."""
        batch, _, heads, width = value_BNHD.shape
        table_BRHD = value_BNHD.new_zeros(batch, self.cells, heads, width)
        maps = value_BNHD.split([h * w for h, w in self.sizes], dim=1)
        for start, end, (h, w), map_BNHD in zip(self.starts[:-1], self.starts[1:], self.sizes, maps, strict=True):
            framed_BhwHD = table_BRHD[:, start:end].view(batch, h + 2, w + 2, heads, width)
            framed_BhwHD[:, 1:-1, 1:-1] = map_BNHD.view(batch, h, w, heads, width)
        return table_BRHD.flatten(1, 2)

    def rows(self, location_qHK2: torch.Tensor, weight_qHK: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Rows of the four cells around each point, and their weights: (q * H, 4 * K) int32 and float32."""
        import torch

        index_qH4K = torch.empty(*weight_qHK.shape[:2], 4, weight_qHK.shape[2], dtype=torch.int32)
        share_qH4K = torch.empty(index_qH4K.shape)
        # In cells, 0 in the middle of the first one; all that is farther out than the frame is worth nothing there.
        x_qHK, y_qHK = (
            (location_qHK2[..., axis] * size_K).sub_(0.5).clamp_(torch.tensor(-1.0), size_K)
            for axis, size_K in enumerate((self.width_K, self.height_K))
        )
        left_qHK, top_qHK = x_qHK.floor(), y_qHK.floor()
        right_share_qHK = x_qHK.sub_(left_qHK)
        lower_qHK = y_qHK.sub_(top_qHK).mul_(weight_qHK)
        for first, row_qHK in enumerate((weight_qHK - lower_qHK, lower_qHK)):
            torch.mul(right_share_qHK, row_qHK, out=share_qH4K[:, :, 2 * first + 1])
            torch.sub(row_qHK, share_qH4K[:, :, 2 * first + 1], out=share_qH4K[:, :, 2 * first])
        corner_qHK = torch.addcmul(left_qHK, top_qHK, self.pitch_K).int().mul_(self.heads).add_(self.origin_HK)
        for first, left_index_qHK in enumerate((corner_qHK, corner_qHK + self.below_K)):
            index_qH4K[:, :, 2 * first] = left_index_qHK
            torch.add(left_index_qHK, self.heads, out=index_qH4K[:, :, 2 * first + 1])
        return index_qH4K.flatten(0, 1).flatten(1), share_qH4K.flatten(0, 1).flatten(1)
