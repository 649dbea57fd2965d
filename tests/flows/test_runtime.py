import threading

import pytest
from prefect import flow
from prefect.client.schemas.objects import State, StateType

from flows import runtime
from flows.runtime import in_flight, is_transient, retried
from storage.errors import ConfigError, ShardError, TransientError


@pytest.fixture
def quick_retries(monkeypatch):
    monkeypatch.setattr(runtime, "RETRY_DELAYS", (0.05, 0.05, 0.05))


@pytest.mark.parametrize(
    ("error", "again"),
    [(TransientError("busy"), True), (ConfigError("no"), False), (ShardError("torn"), False), (OSError(), False)],
)
def test_only_a_transient_error_is_tried_again(error, again):
    assert is_transient(None, None, State(type=StateType.FAILED, data=error)) is again


def test_a_task_recovers_from_transient_errors_and_gives_up_on_others_at_once(prefect_server, quick_retries):
    calls = {"passes": 0, "stays": 0, "broken": 0}

    @retried("{kind}")
    def work(_, kind):
        calls[kind] += 1
        if kind == "broken":
            raise ConfigError("wrong for ever")
        if kind == "stays" or calls[kind] < 3:
            raise TransientError("try again")
        return kind

    @flow
    def parent():
        done = {kind: future.result(raise_on_failure=False) for kind, future in in_flight(work, None, calls, 3)}
        assert done["passes"] == "passes"
        assert isinstance(done["stays"], TransientError)
        assert isinstance(done["broken"], ConfigError)

    parent()
    assert calls == {"passes": 3, "stays": 4, "broken": 1}


def test_no_more_tasks_than_the_limit_are_known_to_prefect_at_once(prefect_server):
    three = threading.Barrier(3, timeout=60)
    taken = []

    @retried("{item}")
    def work(_, item):
        three.wait()  # Passes only when three tasks run at the same time.
        return item

    def items():
        for item in range(9):
            taken.append(item)
            yield item

    @flow
    def parent():
        finished = []
        for item, future in in_flight(work, None, items(), 3):
            assert future.result() == item
            finished.append(item)
            assert len(taken) - len(finished) <= 3
        return finished

    assert sorted(parent()) == list(range(9))


def test_what_all_tasks_share_is_passed_on_untouched_and_not_searched(prefect_server):
    class Opaque(dict):
        def __iter__(self):
            raise AssertionError("Prefect looked inside")

    shared = Opaque(value=1)

    @retried("{item}")
    def work(given, item):
        return given is shared

    @flow
    def parent():
        return [future.result() for _, future in in_flight(work, shared, [1], 1)]

    assert parent() == [True]
