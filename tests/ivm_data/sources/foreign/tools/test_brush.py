import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from ivm_data.sources.foreign.tools import brush

OPACITIES = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.sampled_from([0, 7, 255]))


def code(bits):
    bits = bits.replace(" ", "")
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8)


@settings(max_examples=150, deadline=None)
@given(OPACITIES)
def test_what_is_coded_is_decoded_bit_for_bit(opacity_HW):
    assert (brush.decode(brush.encode(opacity_HW).tobytes(), *opacity_HW.shape) == opacity_HW).all()


@settings(max_examples=100, deadline=None)
@given(OPACITIES)
def test_the_decoded_is_coded_to_the_same_bytes(opacity_HW):
    coded = brush.encode(opacity_HW).tobytes()
    assert brush.encode(brush.decode(coded, *opacity_HW.shape)).tobytes() == coded


def test_the_bits_are_those_of_the_description():
    opacity_HW = np.array([[0, 0, 0, 255]], np.uint8)
    sizes = "0010 0011 0111 1111"
    zeros, full = "1 01 1011 00000000", "1 00 011 11111111"
    assert brush.encode(opacity_HW).tobytes() == code(f"{16:032b} 00111 {sizes} {zeros} {full}")


@pytest.mark.parametrize("pixels", [2, 4, 64, 16_384, 16_385, 40_000])
def test_runs_of_every_size_come_back(pixels):
    opacity_HW = np.full((1, pixels), 255, np.uint8)
    opacity_HW[0, -1] = 0
    assert (brush.decode(brush.encode(opacity_HW).tobytes(), 1, pixels) == opacity_HW).all()


def test_literals_and_other_sizes_are_read_although_never_written():
    sizes = "0001 0010 0011 0100"
    literals = "0 01 111 " + " ".join(f"{value:08b}" for value in (1, 2, 3, 4, 5, 6, 7, 8))
    assert brush.decode(code(f"{8:032b} 00111 {sizes} {literals}"), 1, 2).tolist() == [[4, 8]]


@pytest.mark.parametrize(
    ("bits", "message"),
    [
        (f"{8:032b}", "cut off after 4 bytes"),
        (f"{8:032b} 00111 0010001101111111 1 00", "cut off"),
        (f"{9:032b} 00111 0010001101111111", "9 values of 8 bits"),
        (f"{8:032b} 01111 0010001101111111", "8 values of 16 bits"),
        (f"{8:032b} 00111 0010001101111111 1 01 1111 00000000", "ends at value 16 of 8"),
    ],
)
def test_a_code_that_is_none_says_why(bits, message):
    with pytest.raises(ValueError, match=message):
        brush.decode(code(bits), 1, 2)


def test_only_an_image_of_bytes_is_coded():
    with pytest.raises(ValueError, match="uint8 with the axes H and W"):
        brush.encode(np.zeros((2, 2), bool))
