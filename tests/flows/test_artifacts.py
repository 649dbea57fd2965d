import importlib.util
import json
import logging
import math
import re
from datetime import UTC, datetime
from pathlib import Path

from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.artifacts import ProgressBoard, StageBoard, as_cells, as_markdown
from flows.label_artifacts import mermaid, show_strips
from ivm_data.recipes.labeling_recipes import recipe
from storage.catalog import Catalog

HOSTILE = "a|b `c` <img src=x onerror=alert(1)> [x](javascript:1) \x1b[31m\u202e\n# d"
SHOWN = "a\\|b \\`c\\` \\<img src=x onerror=alert(1)\\> \\[x\\](javascript:1) \\\\x1b\\[31m\\\\u202e\\\\n\\# d"


def test_cells_are_json_values():
    row = {
        "share": 1 / 3,
        "missing": math.nan,
        "count": 7,
        "name": "a",
        "none": None,
        "when": datetime(2024, 5, 1, tzinfo=UTC),
    }
    (cells,) = as_cells([row])
    assert json.loads(json.dumps(cells, allow_nan=False)) == {
        "share": 0.3333, "missing": None, "count": 7, "name": "a", "none": None, "when": "2024-05-01 00:00:00+00:00",
    }  # fmt: skip


def test_counts_become_a_markdown_table():
    assert as_markdown({"a": "1", "b": "2"}) == "| a | b |\n| --- | --- |\n| 1 | 2 |"


def test_stages_are_shown_without_a_request_for_every_step(prefect_server, caplog):
    shown = []

    class Log(logging.Logger):
        def info(self, message, *args):
            shown.append(message % args)

    @flow
    def parent():
        board = StageBoard("stage-test", Log("stages"), every=60)
        for stage in ("encode", "generator"):
            for done in range(1, 101):
                board.show(stage, done, 100)

    parent()
    with get_client(sync_client=True) as client:
        (artifact,) = [a for a in client.read_artifacts() if a.key == "stage-test"]
    assert artifact.data == 100
    assert artifact.description == "generator: 100 of 100"
    assert shown == ["encode 1/100", "encode 100/100", "generator 1/100", "generator 100/100"]


def test_a_server_that_went_away_ends_no_run(prefect_server, caplog):
    stages, parts = StageBoard("away-stages", logging.getLogger("stages")), ProgressBoard("away-parts", {"parts": "0"})
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}), caplog.at_level(logging.WARNING):
        stages.show("encode", 1, 2)
        parts.show(50.0, {"parts": "1"})
    assert caplog.text.count("progress not shown, ConnectError") == 2


def test_text_from_data_is_no_markdown_in_an_artifact():
    assert as_cells([{"instruction": HOSTILE, "examples": [HOSTILE]}])[0]["instruction"] == SHOWN
    assert not re.search(r"(?<!\\)[|`<>]", as_cells([{"examples": [HOSTILE]}])[0]["examples"])
    assert as_markdown({HOSTILE: HOSTILE}).splitlines() == [f"| {SHOWN} |", "| --- |", f"| {SHOWN} |"]


def test_an_experts_name_cannot_leave_its_box_in_the_diagram():
    chosen = recipe("demo", {"calibration": 'x"] --> y["`<b>\n'})
    (line,) = [line for line in mermaid(chosen).splitlines() if line.startswith("    gate[")]
    assert line == '    gate["gate<br/>x#34;] --#62; y[#34;#96;#60;b#62;\\n"]'


def test_episodes_are_shown_as_strips_and_stills_are_not(prefect_server, tmp_path):
    where = Path(__file__).parents[1] / "ivm_data" / "report" / "test_strips.py"
    spec = importlib.util.spec_from_file_location("strip_builders", where)
    builders = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(builders)
    data, recipe_hash = builders.write_episodes(tmp_path)

    @flow
    def show(recipe_hash):
        with Catalog(data) as catalog:
            show_strips(catalog, recipe_hash)

    def shown(of):
        only = FlowRunFilter(id=FlowRunFilterId(any_=[show(of, return_state=True).state_details.flow_run_id]))
        with get_client(sync_client=True) as client:
            return [(one.key, one.data[:23]) for one in client.read_artifacts(flow_run_filter=only)]

    assert shown(recipe_hash) == [("label-strips", "data:image/jpeg;base64,")]
    assert shown("no-such-recipe") == []
