"""Images behind URLs: fetched once each into a folder; see `download` for what is fetched at all."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ivm_data.sources.download import FailedError, RefusedError, download
from storage.common.validation import Checked, Count, Natural, Positive
from storage.errors import ConfigError, InputError, TransientError

OUTAGE = 8
"""URLs that must fail in passing, and none be fetched, before the network is blamed and not the URLs."""


@dataclass(frozen=True)
class FetchConfig(Checked):
    """How URLs are fetched.

    Attributes:
        cache: folder of the files fetched, named by the hash of their URL.
        max_bytes: size of one file.
        timeout_s: seconds for one attempt, from the first byte sent to the last one received. Looking up the host's
            name is not counted: the system's resolver has its own limit.
        attempts: how often a URL is asked that fails in passing.
        redirects: how many are followed.
        concurrency: URLs under way at once.
        allow_private: also fetch from loopback, private, link-local and other addresses that are not public.
    """

    cache: str = ".cache/images"
    max_bytes: Count = 1 << 26
    timeout_s: Positive = 20.0
    attempts: Count = 3
    redirects: Natural = 5
    concurrency: Count = 16
    allow_private: bool = False


def is_url(reference: str) -> bool:
    """Whether a manifest's reference is a URL that a `Fetcher` takes."""
    return reference.lower().startswith(("http://", "https://"))


class Fetcher:
    """Fetches URLs into the cache. Threads and processes may share the folder."""

    def __init__(self, config: FetchConfig) -> None:
        self.config = config
        self._failures: dict[str, InputError] = {}

    def fetch_all(self, urls: Sequence[str], max_bytes: int) -> None:
        """Fetch what is not in the cache, several at once; failures are remembered for `fetch`.

        Raises:
            TransientError: many URLs were asked, not one was fetched, and all failed in passing.
        """
        missing = [url for url in dict.fromkeys(urls) if not self._place(url).is_file() and url not in self._failures]
        if not missing:
            return
        with ThreadPoolExecutor(min(self.config.concurrency, len(missing))) as pool:
            passing = sum(pool.map(lambda url: self._bring(url, max_bytes), missing))
        if passing == len(missing) >= OUTAGE:
            raise TransientError(
                f"none of {passing} URLs could be fetched, the last: {self._failures[missing[-1]].detail}; "
                "see that the network works, and run again"
            )

    def fetch(self, url: str, max_bytes: int) -> bytes:
        """The file behind a URL, from the cache where it is there.

        Raises:
            InputError: `image_not_fetched` or `image_too_large`.
            ConfigError: the cache's folder cannot be written.
        """
        place = self._place(url)
        if not place.is_file() and url not in self._failures:
            self._bring(url, max_bytes)
        if url in self._failures:
            raise self._failures[url]
        data = place.read_bytes()
        if len(data) > max_bytes:
            raise InputError("image_too_large", f"'{url}' has {len(data)} bytes, at most {max_bytes} are read")
        return data

    def _download(self, url: str, max_bytes: int) -> bytes:
        config = self.config
        return download(url, max_bytes, config.timeout_s, config.redirects, config.allow_private)

    def _place(self, url: str) -> Path:
        name = hashlib.blake2b(url.encode(), digest_size=16).hexdigest()
        return Path(self.config.cache) / name[:2] / name

    def _bring(self, url: str, max_bytes: int) -> bool:
        """Fetch one URL into the cache; True if it failed in passing to the last attempt."""
        limit, problem = min(max_bytes, self.config.max_bytes), ""
        for attempt in range(self.config.attempts):
            time.sleep(0.5 * attempt)
            try:
                _keep(self._place(url), self._download(url, limit))
                return False
            except InputError as error:
                self._failures[url] = error
                return False
            except RefusedError as error:
                self._failures[url] = InputError("image_not_fetched", f"'{url[:300]}': {error}")
                return False
            except FailedError as error:
                problem = str(error)
        attempts = self.config.attempts
        self._failures[url] = InputError("image_not_fetched", f"'{url[:300]}': {problem}, {attempts} attempts")
        return True


def _keep(place: Path, data: bytes) -> None:
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=place.parent, delete=False) as unfinished:
            unfinished.write(data)
        os.replace(unfinished.name, place)
    except OSError as error:
        raise ConfigError(f"the cache of images at '{place.parent}' cannot be written: {error}; set cache") from error
