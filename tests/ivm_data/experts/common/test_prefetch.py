import threading
import time
from contextlib import closing

import pytest

from ivm_data.experts.common.prefetch import ahead


def workers():
    return [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]


def test_results_come_in_the_order_of_the_items_however_long_each_takes():
    def work(item):
        time.sleep(0.002 * (7 - item))
        return item

    assert list(ahead(work, range(8), depth=4, threads=4)) == list(range(8))


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_no_more_results_than_the_depth_wait_for_the_caller(depth):
    begun = []
    results = ahead(begun.append, range(20), depth, threads=4)
    for taken, _ in enumerate(results):
        assert len(begun) <= taken + 1 + depth
    assert len(begun) == 20


def test_work_goes_on_while_the_caller_is_busy():
    second = threading.Event()
    with closing(ahead(lambda item: second.set() if item else None, range(3), depth=1)) as results:
        next(results)
        assert second.wait(5)


def test_an_error_comes_where_its_result_would_have_and_no_thread_stays():
    results = ahead(lambda item: 1 // item, [1, 1, 0, 1], depth=2)
    assert [next(results), next(results)] == [1, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert not workers()


def test_no_thread_stays_when_the_caller_stops_early():
    with closing(ahead(lambda item: item, range(100), depth=2)) as results:
        assert next(results) == 0 and workers()
    assert not workers()


def test_nothing_to_do_is_no_result():
    assert list(ahead(len, [], depth=1)) == []
