"""How many items pass through a model together: what its config says, or less where the memory is too small."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
_LOG = logging.getLogger(__name__)


class Batches:
    """A batch size that halves where the memory does not hold it, and then stays so for the rest of the process.

    Attributes:
        size: items that pass through the model together.
    """

    def __init__(self, size: int) -> None:
        self.size = size

    def run(
        self,
        work: Callable[[Sequence[Item]], Iterable[Result]],
        items: Iterable[Item],
        most: int = sys.maxsize,
        smaller: Callable[[Item], Item | None] | None = None,
    ) -> Iterator[Result]:
        """One result for each item, in order.

        Args:
            work: a batch of items -> one result for each.
            most: items at once, where `size` is more.
            smaller: what is tried instead of a single item that does not fit; None for what cannot be smaller. It may
                raise an error that says what was tried.

        Raises:
            RuntimeError: out of memory with a single item; whatever else `work` raises.
        """
        source = iter(items)
        while batch := list(islice(source, min(self.size, most))):
            yield from self._halving(work, batch, smaller or (lambda item: None))

    def _halving(
        self,
        work: Callable[[Sequence[Item]], Iterable[Result]],
        batch: Sequence[Item],
        smaller: Callable[[Item], Item | None],
    ) -> list[Result]:
        less = None
        try:
            return list(work(batch))
        except RuntimeError as error:
            from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size

            if not should_reduce_batch_size(error):
                raise
            if len(batch) == 1 and (less := smaller(batch[0])) is None:
                raise
        # Only here is the error gone, and with it the frames that held the batch's tensors.
        clear_device_cache(garbage_collection=True)
        if less is not None:
            return self._halving(work, [less], smaller)
        middle = (len(batch) + 1) // 2
        self.size = min(self.size, middle)
        _LOG.info("out of memory with %d items at once; from here on it is %d", len(batch), self.size)
        return self._halving(work, batch[:middle], smaller) + self._halving(work, batch[middle:], smaller)
