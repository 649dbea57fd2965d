import pickle
import struct
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivm_data.sources.foreign.common.plain_pickle import load_plain
from storage.errors import ConfigError

HUGE = struct.pack("<I", 0x60000000)
BOMBS = {
    "a place in the memo": b"Nr" + HUGE + b".",
    "bytes": b"B" + HUGE + b".",
    "text": b"X" + HUGE + b".",
    "long bytes": b"\x80\x04\x8e" + HUGE + bytes(4) + b".",
    "a bytearray": b"\x80\x05\x96" + HUGE + bytes(4) + b".",
    "a frame": b"\x80\x04\x95" + HUGE + bytes(4) + b"N.",
    "a number": b"\x8b" + HUGE + b".",
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_few_bytes_that_name_a_huge_size_cost_nothing(tmp_path, name):
    (tmp_path / "x.p").write_bytes(BOMBS[name])
    tracemalloc.start()
    try:
        assert load_plain(tmp_path / "x.p") is None
    except ConfigError as error:
        assert "is not a readable pickle" in str(error)
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 1 << 20


@settings(deadline=None)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False), st.lists))
def test_plain_values_come_back_as_they_were(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / "value.p"
    for protocol in range(6):
        path.write_bytes(pickle.dumps(value, protocol))
        assert load_plain(path) == value
