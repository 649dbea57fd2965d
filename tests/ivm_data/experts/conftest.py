"""What the tests of several experts need."""

from collections.abc import Callable
from pathlib import Path
from string import ascii_lowercase

import pytest

START, END = "<|startoftext|>", "<|endoftext|>"
LETTERS = ("!", *ascii_lowercase, *(f"{letter}</w>" for letter in ascii_lowercase))
CLIP_VOCABULARY = {token: i for i, token in enumerate((*LETTERS, START, END))}
"""Letters, within a word and at its end; [END] has the highest id, which the text encoders look for."""


@pytest.fixture(scope="session")
def save_clip_tokenizer() -> Callable[..., None]:
    """Write a CLIP tokenizer that knows single letters into a checkpoint's folder."""
    from transformers import CLIPTokenizer

    def save(folder: Path, max_length: int, pad_token: str = END) -> None:
        tokenizer = CLIPTokenizer(CLIP_VOCABULARY, [], pad_token=pad_token, model_max_length=max_length)
        tokenizer.save_pretrained(folder)

    return save


@pytest.fixture(scope="session")
def clip_text() -> dict[str, int]:
    """Sizes of a tiny text encoder over that tokenizer."""
    return {
        "vocab_size": len(CLIP_VOCABULARY),
        "bos_token_id": CLIP_VOCABULARY[START],
        "eos_token_id": CLIP_VOCABULARY[END],
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
