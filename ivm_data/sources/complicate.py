"""Short phrases of labeled lines -> complex instructions that need the same targets, written by an LLM.

Grounding data names its targets in a few words. The engine's users speak otherwise, so an LLM that sees the phrase
alone, never the image, writes instructions that cannot be followed without exactly those targets. The labels stay.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeGuard

from ivm_data.experts.common.protocols import Answerer
from ivm_data.experts.lmms import chat_messages, prompts
from ivm_data.experts.lmms.response_cache import ResponseCache, response_key
from ivm_data.experts.lmms.written_instructions import read_instructions
from ivm_data.sources.lines import parse, read_lines, whole_manifest
from storage.common.validation import Checked, Count
from storage.errors import ConfigError, IvmError

CHUNK = 256
"""Lines that are read before the LLM is asked for their phrases, and asked together."""


@dataclass(frozen=True)
class ComplicateConfig(Checked):
    """What is asked for, and what is taken.

    Attributes:
        count: instructions for each phrase.
        max_words: words of an instruction that counts as a short phrase.
        max_characters: length of a written instruction.
        answer_tokens: length at which an answer is cut.
        keep: also write the lines that got instructions, as they are; those that got none always stay.
        cache: folder of the answers; with it a run that was ended goes on where it was.
    """

    count: Count = 3
    max_words: Count = 12
    max_characters: Count = 300
    answer_tokens: Count = 512
    keep: bool = True
    cache: str = ".cache/responses"


def complicate(manifest: Path, out: Path, writer: Answerer, config: ComplicateConfig) -> Counter[str]:
    """Write a manifest in which labeled lines with a short phrase have complex instructions too, or instead.

    Lines that are not labeled, ask for what is absent, are held out or cannot be read stay as they are. A new line
    keeps every key of its old one, and has the old instruction as `phrase`.

    Returns:
        Counts: `lines` read, `phrases` among them that were complicated (one a line), `written` instructions, and the
        dropped ones by reason.

    Raises:
        ConfigError: no usable manifest, or `out` is the same.
        IvmError: the LLM fails on every phrase.
    """
    if out.resolve() == manifest.resolve():
        raise ConfigError(f"'{out}' is the manifest that is read; write to another file")
    counts: Counter[str] = Counter()
    letters = _Letters(writer, config)
    lines = read_lines(manifest)
    with whole_manifest(out) as file:
        while chunk := list(islice(lines, CHUNK)):
            rows = [parse(line) for line in chunk]
            counts["lines"] += len(chunk)
            letters.ask(row["instruction"] for row in rows if _is_phrase(row, config))
            for line, row in zip(chunk, rows, strict=True):
                file.writelines(f"{new}\n" for new in _lines(line, row, letters, counts, config))
    return counts


def _lines(
    line: bytes, row: dict[str, Any] | None, letters: _Letters, counts: Counter[str], config: ComplicateConfig
) -> Iterator[str]:
    if not _is_phrase(row, config):
        yield line.decode("utf-8", "surrogateescape").strip()
        return
    phrase = row["instruction"]
    written, dropped = read_instructions(letters.answers.get(phrase), phrase, config.count, config.max_characters)
    counts.update(dropped)
    counts.update({"phrases": 1, "written": len(written)})
    if config.keep or not written:
        yield json.dumps(row)
    for instruction in written:
        yield json.dumps(row | {"instruction": instruction, "phrase": phrase})


def _is_phrase(row: dict[str, Any] | None, config: ComplicateConfig) -> TypeGuard[dict[str, Any]]:
    """Labeled, trained on, and of at least one word and not too many."""
    if row is None or row.get("held_out") or not (row.get("targets") or row.get("mask")):
        return False
    text = row["instruction"]
    return any(map(str.isalnum, text)) and len(text.split()) <= config.max_words


class _Letters:
    """What the LLM answered to the phrases of one chunk; the cache knows it from all chunks and runs.

    Attributes:
        answers: phrase -> answer, or None where the LLM failed on it alone.
    """

    def __init__(self, writer: Answerer, config: ComplicateConfig) -> None:
        self.writer, self.config = writer, config
        self.answers: dict[str, str | None] = {}
        self._task = chat_messages.COMPLICATE.format(count=config.count)
        self._cache = ResponseCache(config.cache)

    def ask(self, phrases: Iterable[str]) -> None:
        """Ask for each phrase that the cache does not know, all at once.

        Raises:
            IvmError: the LLM failed on every one of several.
        """
        keys = {phrase: self._key(phrase) for phrase in dict.fromkeys(phrases)}
        known = self._cache.find(keys.values())
        self.answers = {phrase: known.get(key) for phrase, key in keys.items()}
        missing = [phrase for phrase, key in keys.items() if key not in known]
        answers = self._answers(missing)
        for phrase, answer in answers.items():
            self._cache.keep(keys[phrase], answer)
        self.answers |= answers

    def _answers(self, phrases: Sequence[str]) -> dict[str, str]:
        """All together; where that fails, each alone."""
        try:
            return dict(zip(phrases, self._say(phrases), strict=True)) if phrases else {}
        except IvmError:
            raise
        except Exception as error:
            found = {phrase: answer for phrase in phrases if (answer := self._alone(phrase)) is not None}
            if len(phrases) > 1 and not found:
                raise IvmError(f"{self.writer.name} fails on every phrase, first with: {error}; fix it") from error
            return found

    def _alone(self, phrase: str) -> str | None:
        try:
            return self._say([phrase])[0]
        except IvmError:
            raise
        except Exception:  # whatever a model raises on one text is that text's alone; it is counted
            return None

    def _say(self, phrases: Sequence[str]) -> list[str]:
        asked = [prompts.COMPLICATE.format(phrase=phrase, count=self.config.count) for phrase in phrases]
        return self.writer.answer(None, asked, self._task, self.config.answer_tokens)

    def _key(self, phrase: str) -> str:
        parameters = {"answer_tokens": self.config.answer_tokens, "count": self.config.count}
        prompt = [self._task, prompts.COMPLICATE, phrase]
        return response_key(self.writer.name, parameters, prompt, None)
