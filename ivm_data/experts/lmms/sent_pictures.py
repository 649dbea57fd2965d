"""Images as they are sent to an endpoint: shrunk and encoded once, whatever is asked about them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future

import numpy as np

from ivm_data.experts.common.seen_images import SeenImages


class SentPictures:
    """Encoded images by their arrays, which must not be changed in between; threads share one encoding.

    Args:
        encode: HWC uint8 RGB -> `data:` URL.
    """

    def __init__(self, encode: Callable[[np.ndarray], str]) -> None:
        self._encode = encode
        self._seen: SeenImages[Future[str]] = SeenImages()
        self._lock = threading.Lock()

    def url(self, image_HWC: np.ndarray) -> str:
        """The image as a `data:` URL; whatever `encode` raises, for every thread that asks."""
        with self._lock:
            found = self._seen.get(image_HWC)
            if is_first := found is None:
                found = Future()
                self._seen.put(image_HWC, found)
        assert found is not None
        if is_first:
            try:
                found.set_result(self._encode(image_HWC))
            except BaseException as error:
                found.set_exception(error)
        return found.result()
