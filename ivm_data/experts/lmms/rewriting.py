"""How an LMM rewrites: it is asked, its answer is read, and asked once more where that cannot be done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ivm_data.experts.common.protocols import Reply
from ivm_data.experts.lmms import chat_messages, prompts
from ivm_data.experts.lmms.request_reader import read
from storage.request import Request

REWRITE_TOKENS = 512
"""Length at which the answer of an instructed LMM is cut; eight targets in full take about 400."""

Ask = Callable[[Sequence[np.ndarray] | None, Sequence[str], str], list[Reply]]
"""Images, questions and the task that they share -> replies."""


def rewrite_by(
    reply: Ask, instructions: Sequence[str], images: Sequence[np.ndarray] | None, instructed: bool
) -> list[Request]:
    """One request for each instruction; one without things, and with a note why, where its answer cannot be read.

    Args:
        images: one for each instruction, or None for words alone.
        instructed: the LMM follows a task in words, so it can be told what was wrong with its first answer.
    """

    def ask(which: Sequence[int], task: str) -> list[Request]:
        shown = None if images is None else [images[i] for i in which]
        asked = [prompts.REWRITE.format(instruction=instructions[i]) for i in which]
        return [read(one.text, one.is_cut) for one in reply(shown, asked, task)]

    task = chat_messages.REWRITE if images is None else chat_messages.REWRITE_SEEN
    requests = ask(range(len(instructions)), task)
    if instructed:
        _ask_again(requests, lambda which, fault: ask(which, task + chat_messages.REWRITE_AGAIN.format(fault=fault)))
    return requests


def is_readable(request: Request) -> bool:
    """Whether an answer says what an instruction asks for, were it that there is nothing."""
    return bool(request.things) or request.scope != "things"


def _ask_again(requests: list[Request], ask: Callable[[Sequence[int], str], list[Request]]) -> None:
    """Put the second answers in the place of unreadable ones; answers with the same fault are asked for together."""
    faults: dict[str, list[int]] = {}
    for i, request in enumerate(requests):
        if not is_readable(request):
            faults.setdefault(request.notes[-1], []).append(i)
    for fault, which in faults.items():
        for i, request in zip(which, ask(which, fault), strict=True):
            requests[i] = replace(request, notes=(f"asked again, since of the first answer {fault}", *request.notes))
