"""Any LMM behind an OpenAI-compatible endpoint (vLLM, SGLang, `transformers serve`) as rewriter, verifier, answerer."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ivm_data.experts.common.frame import Frame
from ivm_data.experts.common.input_size import InputSize
from ivm_data.experts.common.protocols import AnswerError, Reply, check_lengths
from ivm_data.experts.common.usage import Usage
from ivm_data.experts.lmms import chat_messages, request_json
from ivm_data.experts.lmms.openai_client import OpenAiClient, OpenAiConfig
from ivm_data.experts.lmms.request_reader import read
from ivm_data.experts.lmms.response_cache import ResponseCache, response_key
from ivm_data.experts.lmms.rewriting import REWRITE_TOKENS, is_readable, rewrite_by
from ivm_data.experts.lmms.sent_pictures import SentPictures
from ivm_data.experts.lmms.shared_prefix import by_image
from ivm_data.experts.lmms.whole_image import Crop, whole_image
from storage.errors import ConfigError
from storage.request import Request

TOP_LOGPROBS = 20
"""The most that OpenAI and, by default, vLLM give for a token."""
LOGPROB_TRIES = 2
"""How often a question is asked whose log-probabilities cannot be used."""
SCHEMA_REFUSED = re.compile("response_format|json_schema|guided|grammar|structured")
"""In what a server says that decodes by no schema."""
VOTE_TOKENS = 4
"""Room for "yes" with its full stop and the end."""


@dataclass(frozen=True)
class _Question:
    """One request to be: its system message, text, image, length of an answer in words, and key in the cache."""

    system: str
    text: str
    image_HWC: np.ndarray | None
    tokens: int
    key: str


class OpenAiLmm:
    """Rewriter, Verifier, Answerer and Chooser over one endpoint."""

    def __init__(self, config: OpenAiConfig) -> None:
        self.config = config
        self._client = OpenAiClient(config)
        self._sent = SentPictures(self._encoded)
        self._cache = ResponseCache(config.cache) if config.cache else None
        self._offers_logprobs: bool | None = None
        """None until the first answer."""
        self._offers_schema = True
        """Until it refuses one."""

    @property
    def name(self) -> str:
        """`model@host:port/path`, then `#revision` where the config gives one; of a directory its last part only."""
        model, revision = self.config.model, self.config.revision
        model = Path(model).name if Path(model).is_absolute() else model
        return f"{model}@{self.config.endpoint}" + (f"#{revision}" if revision else "")

    @property
    def input_size(self) -> InputSize:
        """A square of `max_pixels`: what the server makes of it is not known here."""
        side = math.isqrt(self.config.max_pixels)
        return InputSize(side, side)

    @property
    def usage(self) -> Usage:
        """Requests and tokens so far; answers from the cache add nothing."""
        return self._client.usage

    @property
    def answer_options(self) -> dict[str, Any]:
        """What of the config decides an answer."""
        names = ("votes", "answer_tokens", "image_format", "jpeg_quality", "max_pixels", "square", "instructed")
        return {"model": self.config.model} | {name: getattr(self.config, name) for name in names}

    def together(self, verb: str, rows: Sequence[tuple[Any, ...]]) -> list[list[int]]:
        """Each question goes alone (`KeptExpert`)."""
        return [[i] for i in range(len(rows))]

    def load(self) -> None:
        """Check that the server answers and offers the model; does nothing the second time."""
        self._client.load()

    def rewrite(self, instructions: Sequence[str], images: Sequence[np.ndarray] | None = None) -> list[Request]:
        """See `Rewriter`; a server does not say what it understood.

        An instructed model's answer is decoded by the schema of a request, where the server can.
        """
        instructed = self.config.instructed

        def reply(shown: Sequence[np.ndarray] | None, questions: Sequence[str], task: str) -> list[Reply]:
            say, tokens = (self._by_schema, REWRITE_TOKENS) if instructed else (self._text_and_end, None)
            said = self._ask_all(task, shown, questions, say, _is_request, tokens=tokens)
            return [Reply(text, end == "length") for text, end in said]

        return rewrite_by(reply, instructions, images, instructed)

    def p_yes(self, images: Sequence[np.ndarray], questions: Sequence[str]) -> np.ndarray:
        """P(yes), (N,) float32: from the first token's log-probabilities, or from votes where none are offered.

        Votes are `votes` answers sampled at temperature 1: P = (yes + 1) / (yes + no + 2), Laplace's rule of
        succession.
        """
        chances = self._ask_all(chat_messages.YES_NO, images, questions, self._p_yes, lambda chance: True)
        return np.asarray(chances, np.float32)

    def answer(
        self,
        images: Sequence[np.ndarray] | None,
        questions: Sequence[str],
        task: str | None = None,
        tokens: int | None = None,
    ) -> list[str]:
        """See `Answerer`."""
        return [reply.text for reply in self.reply(images, questions, task, tokens)]

    def reply(
        self,
        images: Sequence[np.ndarray] | None,
        questions: Sequence[str],
        task: str | None = None,
        tokens: int | None = None,
    ) -> list[Reply]:
        """See `Replier`. The picture is the one that is sent: what a server makes of it is not known here."""
        said = self._ask_all(
            task or chat_messages.ANSWER, images, questions, self._text_and_end, _has_text, tokens=tokens
        )
        frames = [None] * len(said) if images is None else [self._picture(image_HWC)[1] for image_HWC in images]
        return [Reply(text, end == "length", frame) for (text, end), frame in zip(said, frames, strict=True)]

    def choose(
        self, images: Sequence[np.ndarray], questions: Sequence[str], options: Sequence[Sequence[str]]
    ) -> list[np.ndarray]:
        """See `Chooser`: the log-probability of each option's letter, as chat endpoints do not score given text."""
        check_lengths(images, options, "list of options")
        texts = [chat_messages.lettered(q, some) for q, some in zip(questions, options, strict=True)]
        tops = self._ask_all(chat_messages.LETTER, images, texts, self._first_tokens, bool, tokens=1)
        found = [chat_messages.letter_logprobs(top, len(some)) for top, some in zip(tops, options, strict=True)]
        return [np.array(chances, np.float32) for chances in found]

    def _ask_all(
        self,
        system: str,
        images: Sequence[np.ndarray] | None,
        texts: Sequence[str],
        ask: Callable[[_Question], Any],
        is_good: Callable[[Any], bool],
        *,
        tokens: int | None = None,
    ) -> list[Any]:
        """An answer for each text: known ones from the cache, others asked once each and kept where they are good.

        Questions about one image follow each other, so that a server finds their common beginning in its prefix cache.
        """
        if images is not None and len(images) != len(texts):
            raise ValueError(f"need one image for each question, got {len(images)} for {len(texts)} questions")
        shown = [None] * len(texts) if images is None else images
        length = tokens or self.config.answer_tokens
        asked = [self._question(system, text, image, length) for text, image in zip(texts, shown, strict=True)]
        answers = self._cache.find(question.key for question in asked) if self._cache else {}
        in_turn = asked if images is None else [asked[i] for i in by_image(images)]
        missing = {question.key: question for question in in_turn if question.key not in answers}

        def answer(question: _Question) -> Any:
            found = ask(question)
            if self._cache and is_good(found):
                self._cache.keep(question.key, found)
            return found

        if missing:
            self.load()
            with ThreadPoolExecutor(min(self.config.concurrency, len(missing))) as pool:
                # A pool's threads know nothing of the caller's context, in which usage is counted.
                contexts = [copy_context() for _ in missing]
                found = pool.map(lambda context, question: context.run(answer, question), contexts, missing.values())
                answers |= zip(missing, found, strict=True)
        return [answers[question.key] for question in asked]

    def _question(self, system: str, text: str, image_HWC: np.ndarray | None, tokens: int) -> _Question:
        parameters = {**self.answer_options, "answer_tokens": tokens}
        whole_name = f"{parameters.pop('model')} of {self.name}"
        key = response_key(whole_name, parameters, [system, text], image_HWC)
        return _Question(system, text, image_HWC, tokens, key)

    def _send(self, question: _Question, **parameters: Any) -> Any:
        url = None if question.image_HWC is None else self._sent.url(question.image_HWC)
        turns = chat_messages.messages(question.system, question.text, url, self.config.instructed)
        return self._client.ask(turns, **parameters)

    def _encoded(self, image_HWC: np.ndarray) -> str:
        picture_HWC, _ = self._picture(image_HWC)
        return chat_messages.data_url(picture_HWC, self.config.image_format, self.config.jpeg_quality)

    def _picture(self, image_HWC: np.ndarray) -> tuple[np.ndarray, Frame]:
        """What is sent of an image, and where it lies in that."""
        return whole_image(image_HWC, self.config.max_pixels, Crop() if self.config.square else None)

    def _text_and_end(self, question: _Question, **parameters: Any) -> tuple[str, str]:
        """The answer in words, and the reason why it ends."""
        choice = self._send(question, max_tokens=question.tokens, temperature=0, **parameters)
        return (choice.message.content or "").strip(), str(choice.finish_reason)

    def _by_schema(self, question: _Question) -> tuple[str, str]:
        """As `_text_and_end`, decoded by the schema of a request where the server offers that."""
        if self._offers_schema:
            form = {"type": "json_schema", "json_schema": {"name": "request", "schema": request_json.schema()}}
            try:
                return self._text_and_end(question, response_format=form)
            except AnswerError as error:
                if not SCHEMA_REFUSED.search(str(error)):
                    raise
                self._offers_schema = False
        return self._text_and_end(question)

    def _first_tokens(self, question: _Question) -> list[tuple[str, float]]:
        """The likeliest first tokens of an answer with their log-probabilities."""
        listed = self._logprobs(question)
        if listed is None:
            raise ConfigError(
                f"{self.name} gives no log-probabilities, by which options are compared; let it answer with a letter "
                "instead (--mode letter)"
            )
        return listed

    def _logprobs(self, question: _Question) -> list[tuple[str, float]] | None:
        """Log-probabilities of the likeliest first tokens; None where the server turns out to give none.

        Raises:
            AnswerError: it gives some that are none, or gave some before and now does not.
        """
        for _ in range(LOGPROB_TRIES):
            try:
                choice = self._send(question, max_tokens=1, temperature=0, logprobs=True, top_logprobs=TOP_LOGPROBS)
            except AnswerError as error:
                if "logprob" not in str(error):
                    raise
                return None
            first = choice.logprobs.content[0] if choice.logprobs and choice.logprobs.content else None
            listed = [(top.token, top.logprob) for top in first.top_logprobs or ()] if first else []
            fault = chat_messages.logprob_fault(listed) if listed else "it lists none"
            if not fault:
                self._offers_logprobs = True
                return listed
        if not listed and not self._offers_logprobs:
            return None
        raise AnswerError(
            f"{self.name} gave no log-probabilities that can be used, asked {LOGPROB_TRIES} times: {fault}; "
            "fix the server, or switch its log-probabilities off, so that it votes"
        )

    def _p_yes(self, question: _Question) -> float:
        listed = None if self._offers_logprobs is False else self._logprobs(question)
        if listed is None:
            self._offers_logprobs = False
            return self._p_yes_by_votes(question)
        chance = chat_messages.p_yes(listed)
        if chance is None:
            likeliest = max(listed, key=lambda entry: entry[1])[0]
            raise AnswerError(
                f"{self.name} begins with {likeliest!r}, and its {len(listed)} likeliest first tokens hold neither yes "
                "nor no; use a model that follows the system message"
            )
        return chance

    def _p_yes_by_votes(self, question: _Question) -> float:
        """The vote's number is its seed: a server that takes seeds repeats itself in a rerun."""
        answers = [
            self._send(question, max_tokens=VOTE_TOKENS, temperature=1, seed=vote).message.content or ""
            for vote in range(self.config.votes)
        ]
        votes = [vote for vote in map(chat_messages.read_vote, answers) if vote is not None]
        if not votes:
            raise AnswerError(
                f"{self.name} answered neither yes nor no in {len(answers)} votes, first {answers[0][:80]!r}; "
                "use a model that follows the system message"
            )
        return (sum(votes) + 1) / (len(votes) + 2)


def _is_request(said: tuple[str, str]) -> bool:
    return is_readable(read(said[0], said[1] == "length"))


def _has_text(said: tuple[str, str]) -> bool:
    return bool(said[0])
