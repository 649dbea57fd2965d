"""A small world, and one Prefect server for all flow tests."""

from __future__ import annotations

import time

import pytest

from ivm_data.worlds.world import write_world


@pytest.fixture(scope="session")
def prefect_server():
    """A server of its own for this test session, on a temporary database."""
    from prefect.testing.utilities import prefect_test_harness  # imports the whole server: seconds

    with prefect_test_harness(server_startup_timeout=300):
        yield


@pytest.fixture(scope="session")
def manifest(tmp_path_factory):
    """Six pairs over three images; every second image has human masks."""
    return write_world(tmp_path_factory.mktemp("world"), "val", scenes=3, pairs_per_scene=2, human_share=0.5)


@pytest.fixture(scope="session")
def settled():
    """Reads what the server knows until it has not changed for a while: it records a moment later."""

    def settled(read, quiet_s=1.5, limit_s=20.0):
        last, since, began = read(), time.monotonic(), time.monotonic()
        while time.monotonic() - since < quiet_s and time.monotonic() - began < limit_s:
            time.sleep(0.3)
            if len(now := read()) != len(last):
                last, since = now, time.monotonic()
        return last

    return settled
