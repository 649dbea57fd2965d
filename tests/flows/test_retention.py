"""What Prefect's database keeps of a part's task."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SHOW = """
import json
from prefect.settings import get_current_settings
vacuum = get_current_settings().server.services.db_vacuum
overrides = {name: kept.total_seconds() for name, kept in vacuum.event_retention_overrides.items()}
print(json.dumps([sorted(vacuum.enabled_vacuum_types), vacuum.loop_seconds, overrides]))
"""


def test_events_of_parts_that_went_well_go_within_minutes_and_all_others_stay():
    """States, which the pages show, are in tables of their own."""
    done = subprocess.run([sys.executable, "-c", SHOW], cwd=ROOT, capture_output=True, text=True, check=True)
    enabled, loop_s, kept_s = json.loads(done.stdout)
    assert "events" in enabled and loop_s <= 60
    ended = {name for name, seconds in kept_s.items() if seconds <= 300}
    shown = "prefect.artifact.updated"  # The progress, once a part.
    assert ended == {shown, *(f"prefect.task-run.{state}" for state in ("Pending", "Running", "Completed"))}
