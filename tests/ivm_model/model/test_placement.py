import pytest
import torch

from ivm_model.model import placement
from ivm_model.model.placement import device_of, dtype_of

HAS_GPU = torch.cuda.is_available()


def test_a_named_device_and_dtype_are_taken_as_they_are():
    assert device_of("cpu") == "cpu" and device_of("cuda:1") == "cuda:1"
    assert dtype_of("float16", "cpu") == "float16" and dtype_of("float32", "cuda") == "float32"


@pytest.mark.skipif(HAS_GPU, reason="torch sees a GPU here")
def test_without_a_gpu_it_is_the_cpu_in_float32():
    assert device_of("auto") == "cpu" and dtype_of("auto", "cpu") == "float32"
    assert dtype_of("auto", "cuda") == "bfloat16"


@pytest.mark.skipif(not HAS_GPU, reason="torch sees no GPU here")
def test_with_a_gpu_it_is_the_gpu_in_half_precision():
    assert device_of("auto") == "cuda" and dtype_of("auto", "cuda") in ("bfloat16", "float16")
    assert dtype_of("auto", "cpu") == "float32"
    assert placement.AUTO == "auto"
