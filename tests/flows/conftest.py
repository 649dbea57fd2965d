"""A small world, and one Prefect server for all flow tests."""

from __future__ import annotations

import pytest
from prefect.testing.utilities import prefect_test_harness

from ivm_data.worlds.world import write_world


@pytest.fixture(scope="session")
def prefect_server():
    """A server of its own for this test session, on a temporary database."""
    with prefect_test_harness(server_startup_timeout=300):
        yield


@pytest.fixture(scope="session")
def manifest(tmp_path_factory):
    """Six pairs over three images; every second image has human masks."""
    return write_world(tmp_path_factory.mktemp("world"), "val", scenes=3, pairs_per_scene=2, human_share=0.5)
