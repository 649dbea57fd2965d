"""The run-length code of Label Studio's brush: that of the library rle-pack (thi.ng/umbrella) over RGBA pixels.

Bits, most significant first: 32 for the number of values, 5 for the word size less 1, four times 4 for the sizes of
run lengths less 1. Then chunks: 1 bit that tells a run (1) from literals (0), 2 bits that choose a size, the length
less 1 in that size, and one word (run) or as many as the length says (literals). The opacity is every fourth value.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

CHANNELS = 4
WORD = 8
SIZES = (3, 4, 8, 16)
"""What Label Studio's own converter writes."""

_HEADER = f"{WORD - 1:05b}" + "".join(f"{size - 1:04b}" for size in SIZES)


def encode(opacity_HW: np.ndarray) -> np.ndarray:
    """Code an image whose four channels are all the opacity, as Label Studio's own converter does, bit for bit.

    Args:
        opacity_HW: uint8, 255 in the foreground.

    Returns:
        The code's bytes, uint8.
    """
    if opacity_HW.dtype != np.uint8 or opacity_HW.ndim != 2 or opacity_HW.size == 0:
        raise ValueError(f"an opacity must be uint8 with the axes H and W, got {opacity_HW.dtype} {opacity_HW.shape}")
    value_N = opacity_HW.ravel()
    edges = [0, *(np.flatnonzero(value_N[1:] != value_N[:-1]) + 1).tolist(), len(value_N)]
    chunks = [_run((stop - start) * CHANNELS, int(value_N[start])) for start, stop in pairwise(edges)]
    bits = f"{len(value_N) * CHANNELS:032b}{_HEADER}{''.join(chunks)}"
    # The converter fills up to the next byte, and adds a whole one where there is nothing to fill.
    bits += "0" * (8 - len(bits) % 8)
    return np.packbits(np.frombuffer(bits.encode("ascii"), np.uint8) - ord("0"))


def decode(code: bytes, height: int, width: int) -> np.ndarray:
    """Decode to the opacity, (height, width) uint8.

    Raises:
        ValueError: the code is cut off, or holds another number of values than 4 * height * width.
    """
    reader = _Bits(code)
    count, word = reader.take(32), reader.take(5) + 1
    sizes = [reader.take(4) + 1 for _ in range(4)]
    if count != CHANNELS * height * width or word > WORD:
        expected = f"{CHANNELS} * {height} * {width} values of at most {WORD} bits"
        raise ValueError(f"a brush of {count} values of {word} bits, expected {expected}")
    value_N, at = np.empty(count, np.uint8), 0
    while at < count:
        run = reader.take(1)
        stop = at + 1 + reader.take(sizes[reader.take(2)])
        if stop > count:
            raise ValueError(f"a chunk ends at value {stop} of {count}")
        value_N[at:stop] = reader.take(word) if run else [reader.take(word) for _ in range(stop - at)]
        at = stop
    return value_N[CHANNELS - 1 :: CHANNELS].reshape(height, width)


def _run(length: int, value: int) -> str:
    """Chunks for equal values: one of the smallest size that holds the length, or several of the largest."""
    most = 1 << SIZES[-1]
    whole, rest = divmod(length - 1, most)
    chunk = f"1{len(SIZES) - 1:02b}{most - 1:0{SIZES[-1]}b}{value:0{WORD}b}"
    index = len(SIZES) - 1 if whole else next(index for index, size in enumerate(SIZES) if rest < 1 << size)
    return chunk * whole + f"1{index:02b}{rest:0{SIZES[index]}b}{value:0{WORD}b}"


class _Bits:
    """Reads numbers of some bits from bytes."""

    def __init__(self, data: bytes) -> None:
        self.bits, self.at = "".join(f"{byte:08b}" for byte in data), 0

    def take(self, size: int) -> int:
        self.at += size
        if self.at > len(self.bits):
            raise ValueError(f"the code is cut off after {len(self.bits) // 8} bytes")
        return int(self.bits[self.at - size : self.at], 2)
