"""Tokenizers and chat templates of LMM families: the published ones where they are at hand, else ones of their form."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

QWEN = "qwen2.5-vl-7b"
"""Folder of Qwen's published tokenizer within the folder of processors."""
_LOOP = (
    "{{% for m in messages %}}{start}{{% for c in m['content'] %}}{{% if c['type'] == 'image' %}}{{{{ {image!r} }}}}"
    "{{% else %}}{{{{ c['text'] }}}}{{% endif %}}{{% endfor %}}{end}{{% endfor %}}"
    "{{% if add_generation_prompt %}}{answer}{{% endif %}}"
)


def made_tokenizer(special: Sequence[str], **named: Any) -> Any:
    """A byte-level BPE of some 800 tokens with "yes" and "no" among them, and special tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    words = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    trainer = trainers.BpeTrainer(
        vocab_size=800,
        special_tokens=list(special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([words, "yes no Yes No yes no\nyes\nno\nYes\nNo " * 500], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named)


def qwen_tokenizer(processors: Path, added: Sequence[str] = (), **named: Any) -> Any:
    """Qwen's published tokenizer with further special tokens behind its own."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(processors / QWEN, **named)
    tokenizer.add_special_tokens({"additional_special_tokens": list(added)}, replace_extra_special_tokens=False)
    return tokenizer


def template(start: str, image: str, end: str, answer: str, head: str = "") -> str:
    """A chat template of one user's turn."""
    return head + _LOOP.format(start=start, image=image, end=end, answer=answer)


def chatml(image: str) -> str:
    """The template of the families that speak ChatML, with what stands for an image."""
    return template("<|im_start|>user\n", image, "<|im_end|>\n", "<|im_start|>assistant\n")
