import pytest
import torch
from groundingdino.models.GroundingDINO.ms_deform_attn import multi_scale_deformable_attn_pytorch

from ivm_data.experts.grounders.deformable_sampling import sampled

SIZES = [(7, 9), (4, 5), (1, 1)]


def drawn(queries, spread=1.0, batch=2, heads=3, width=8, points=4):
    torch.manual_seed(0)
    cells = sum(height * width for height, width in SIZES)
    value_BNHD = torch.randn(batch, cells, heads, width)
    location_BQHLP2 = 0.5 + spread * torch.randn(batch, queries, heads, len(SIZES), points, 2)
    weight_BQHLP = torch.rand(batch, queries, heads, len(SIZES), points)
    return value_BNHD, location_BQHLP2, weight_BQHLP


def of_the_library(value_BNHD, location_BQHLP2, weight_BQHLP):
    return multi_scale_deformable_attn_pytorch(value_BNHD, torch.tensor(SIZES), location_BQHLP2, weight_BQHLP)


@pytest.mark.parametrize("spread", [0.2, 1.0, 1e6], ids=["inside", "across the border", "far outside"])
@pytest.mark.parametrize("queries", [1, 5, 1100])
def test_samples_are_those_of_the_library(queries, spread):
    value_BNHD, location_BQHLP2, weight_BQHLP = drawn(queries, spread)
    expected_BQC = of_the_library(value_BNHD, location_BQHLP2, weight_BQHLP)
    assert torch.allclose(sampled(value_BNHD, SIZES, location_BQHLP2, weight_BQHLP), expected_BQC, atol=1e-5)


@pytest.mark.parametrize("place", [-1.0, 0.0, 0.5, 1.0, 2.0])
def test_points_on_and_beyond_the_very_border_are_those_of_the_library(place):
    value_BNHD, location_BQHLP2, weight_BQHLP = drawn(3)
    edge_BQHLP2 = torch.full_like(location_BQHLP2, place)
    expected_BQC = of_the_library(value_BNHD, edge_BQHLP2, weight_BQHLP)
    assert torch.allclose(sampled(value_BNHD, SIZES, edge_BQHLP2, weight_BQHLP), expected_BQC, atol=1e-5)


def test_half_precision_comes_back_as_such():
    value_BNHD, location_BQHLP2, weight_BQHLP = drawn(5)
    half_BQC = sampled(value_BNHD.bfloat16(), SIZES, location_BQHLP2, weight_BQHLP)
    assert half_BQC.dtype == torch.bfloat16
    assert torch.allclose(half_BQC.float(), of_the_library(value_BNHD, location_BQHLP2, weight_BQHLP), atol=0.1)
