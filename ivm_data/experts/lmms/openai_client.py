"""One OpenAI-compatible endpoint: requests that are counted and paced, and failures in the engine's own words.

The official client retries with jitter and obeys `Retry-After`.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from ivm_data.experts.common.protocols import AnswerError
from ivm_data.experts.common.usage import Meter, Usage, count_usage
from ivm_data.experts.lmms.level import Level
from ivm_data.experts.lmms.whole_image import MAX_PIXELS, MaxPixels
from storage.common.extras import extra
from storage.common.validation import Checked, Count, Natural, Positive, within
from storage.errors import ConfigError, IvmError, TransientError, WeightsError


@dataclass(frozen=True)
class OpenAiConfig(Checked):
    """Where the model is served and how it is asked.

    Attributes:
        base_url: the endpoint up to and with its version, as in `http://host:8000/v1`.
        model: the model's name at the server.
        revision: whatever tells the weights behind that name apart; part of the expert's name and of the cache's keys.
        api_key_env: NAME of the environment variable that holds the key; "" for a server that wants none.
        concurrency: requests under way at once, at most; how many of them the endpoint bears is found (`Level`).
        timeout_s: seconds for one attempt, from the request sent to the last byte of its answer.
        max_retries: further attempts for a request that failed in passing.
        requests_per_minute: pace of all requests together, retries too; 0 for no limit.
        votes: sampled answers for a P(yes) where the server gives no log-probabilities.
        answer_tokens: length at which an answer is cut.
        image_format: how images travel; png is exact, and of a photograph some five times larger.
        jpeg_quality: of a jpeg, from 1 to 100.
        max_pixels: of an image as it is sent; a larger one is shrunk in its own shape.
        square: pad images to a square, for a server whose processor sees only the square in an image's middle, as
            LLaVA-1.5's does.
        instructed: see `chat_messages.messages`.
        cache: directory of the response cache; "" for none.
    """

    base_url: str
    model: str
    revision: str = ""
    api_key_env: str = ""
    concurrency: Count = 64
    timeout_s: Positive = 120.0
    max_retries: Natural = 4
    requests_per_minute: Natural = 0
    votes: Count = 8
    answer_tokens: Count = 64
    image_format: Literal["png", "jpeg"] = "jpeg"
    jpeg_quality: Annotated[int, within("[1, 100]")] = 95
    max_pixels: MaxPixels = MAX_PIXELS
    square: bool = False
    instructed: bool = True
    cache: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.api_key_env and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", self.api_key_env):
            raise ConfigError(
                "'api_key_env' is no name of an environment variable; a recipe never holds the key itself"
            )
        url = urlsplit(self.base_url)
        if url.scheme not in ("http", "https") or not url.hostname or url.username or url.query or url.fragment:
            raise ConfigError("'base_url' must look like 'http://host:8000/v1', with no user, password or query in it")

    @property
    def endpoint(self) -> str:
        """`host:port/path`: servers tell deployments apart by the path."""
        url = urlsplit(self.base_url)
        return f"{url.hostname}:{url.port or (443 if url.scheme == 'https' else 80)}{url.path.rstrip('/')}"


class OpenAiClient:
    """A connection that threads may share; `usage` sums what it was asked.

    Attributes:
        level: how many requests are under way at once.
    """

    def __init__(self, config: OpenAiConfig) -> None:
        self.config = config
        self.level = Level(config.concurrency)
        self._asking = threading.local()
        self._meter = Meter()
        self._lock = threading.Lock()
        self._next_s = 0.0
        self._client: Any = None

    @property
    def usage(self) -> Usage:
        """Answered requests and their tokens so far."""
        return self._meter.used

    def load(self) -> None:
        """Connect, and check that the server offers the model; does nothing the second time.

        Raises:
            WeightsError: no such server, or it does not serve the model.
            ConfigError: the key is not set, or refused.
            TransientError: the server is there but fails.
        """
        if self._client is not None:
            return
        with extra("openai"):
            from openai import APIConnectionError, APITimeoutError, OpenAI

        from ivm_data.experts.lmms.bounded_client import BoundedClient

        config, key = self.config, _key(self.config.api_key_env)
        self._client = OpenAI(
            base_url=config.base_url,
            api_key=key,
            timeout=config.timeout_s,
            max_retries=config.max_retries,
            http_client=BoundedClient(config.timeout_s, key, self._attempt),
        )
        try:
            self._check_offer()
        except BaseException as error:
            self._client = None
            cause = error.__cause__
            if isinstance(cause, APIConnectionError) and not isinstance(cause, APITimeoutError):
                raise WeightsError(
                    f"no server answers at {config.base_url!r}: {cause.__cause__ or cause}; start one that serves "
                    f"{config.model!r}, or correct 'base_url'"
                ) from error
            raise

    def ask(self, messages: list[dict[str, Any]], **parameters: Any) -> Any:
        """The first choice of a chat completion.

        Raises:
            AnswerError: the server refuses this question, for example as too long.
            TransientError: still failing after the last retry, or a torn answer.
            WeightsError: another model answered, or the model is gone.
            ConfigError: the key is refused.
        """
        self._asking.kind = parameters.get("max_tokens")
        with self._explained():
            completion = self._client.chat.completions.create(model=self.config.model, messages=messages, **parameters)
            choice, answered_by = completion.choices[0], completion.model
            choice.message.content, choice.logprobs, choice.finish_reason  # noqa: B018 - a torn answer lacks these
        if answered_by and not _same_model(self.config.model, answered_by):
            raise WeightsError(
                f"{self.config.base_url!r} answered with model {answered_by!r} although {self.config.model!r} was "
                "asked; set 'model' to the one that is meant"
            )
        self._count(completion.usage)
        return choice

    def _check_offer(self) -> None:
        """Look for the model in the server's list; where it is not listed, ask for one word.

        A list need not be complete: `transformers serve` leaves out a model that it serves from a directory, and
        answers 500 where there is no hub cache to list.
        """
        from openai import APIStatusError

        try:
            with self._explained():
                offered = [str(card.id) for card in self._client.models.list()]
        except (AnswerError, IvmError) as error:
            if not isinstance(error.__cause__, APIStatusError) or isinstance(error, ConfigError):
                raise
            offered = []
        if self.config.model in offered:
            return
        try:
            self.ask([{"role": "user", "content": "yes or no?"}], max_tokens=1, temperature=0)
        except (AnswerError, WeightsError) as error:
            listed = ", ".join(map(repr, sorted(offered)[:20])) or "no model"
            raise WeightsError(
                f"{self.config.base_url!r} does not serve {self.config.model!r}: it lists {listed}, and asked for it: "
                f"{error}; set 'model' to a listed one, or start the server with it"
            ) from error

    def _attempt(self) -> AbstractContextManager[Callable[[int], None]]:
        """A place among the requests under way, for one attempt of this thread's question."""
        return self.level.attempt(getattr(self._asking, "kind", None), self._pace)

    def _pace(self) -> None:
        """Wait for a request's turn: they leave at equal distances."""
        if self.config.requests_per_minute == 0:
            return
        with self._lock:
            turn_s = max(self._next_s, time.monotonic())
            self._next_s = turn_s + 60 / self.config.requests_per_minute
        time.sleep(max(0.0, turn_s - time.monotonic()))

    def _count(self, used: Any) -> None:
        prompt, completion = (getattr(used, name, None) or 0 for name in ("prompt_tokens", "completion_tokens"))
        asked = Usage(1, prompt, completion)
        self._meter.add(asked)
        count_usage(asked)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """The client's errors as the engine's."""
        from openai import APIConnectionError, APIResponseValidationError, APIStatusError

        try:
            yield
        except APIConnectionError as error:
            tries = self.config.max_retries + 1
            reason = f"{error} {error.__cause__ or ''}".strip()
            raise TransientError(
                f"{self.config.base_url!r} gave no answer to {tries} attempts of at most {self.config.timeout_s:g} s: "
                f"{reason}; see that the server runs, or raise 'timeout_s'"
            ) from error
        except APIStatusError as error:
            raise _explain_status(error.status_code, str(error)[:500], self.config) from error
        except (APIResponseValidationError, AttributeError, IndexError, TypeError, ValueError) as error:
            raise TransientError(
                f"{self.config.base_url!r} sent an answer that is torn or of another protocol: {error}; "
                "try again, and see that 'base_url' ends where the OpenAI routes begin, often in '/v1'"
            ) from error


def _key(variable: str) -> str:
    """The key; a placeholder where none is wanted, since the client would otherwise send OPENAI_API_KEY anywhere."""
    if not variable:
        return "EMPTY"
    if not os.environ.get(variable):
        # Lower case may be the key itself, written where its name should be.
        named = f"environment variable {variable!r}" if variable.isupper() else "the variable that 'api_key_env' names"
        raise ConfigError(f"{named} holds no key; set it, or give another 'api_key_env'")
    return os.environ[variable]


def _explain_status(status: int, said: str, config: OpenAiConfig) -> Exception:
    where = f"{config.base_url!r} answered {status}"
    if status in (401, 403):
        variable = repr(config.api_key_env) if config.api_key_env else "none: 'api_key_env' is empty"
        return ConfigError(f"{where}: {said}; check the key (environment variable: {variable})")
    if status == 404:
        return WeightsError(f"{where} for model {config.model!r}: {said}; check 'model' and 'base_url'")
    if status in (408, 409, 429) or status >= 500:
        return TransientError(
            f"{where} to {config.max_retries + 1} attempts: {said}; try again later, "
            "or lower 'concurrency' or 'requests_per_minute'"
        )
    return AnswerError(f"{where}: {said}; shorten the instruction, or serve a model that takes it")


def _same_model(asked: str, answered: str) -> bool:
    """True if the names agree but for folders, `@revision` and the date of a snapshot."""
    asked, answered = (name.split("@")[0].rsplit("/", 1)[-1].lower() for name in (asked, answered))
    return re.fullmatch(rf"{re.escape(asked)}(-[\d-]+)?", answered) is not None
