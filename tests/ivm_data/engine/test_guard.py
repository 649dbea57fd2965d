"""A stage that rejects nearly everything stops a run before anything of it is committed."""

import json
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ivm_data.engine.guard import BrokenStageError, GuardConfig, find, guarded
from ivm_data.engine.labeling import PartsFailedError, label_manifest, label_part
from ivm_data.engine.labeling_run import prepare
from ivm_data.engine.part_outcomes import Failure, PartSummary, Suspect
from ivm_data.experts.registry import ExpertSpec
from ivm_data.recipes.labeling_recipes import recipe
from ivm_data.worlds.world import write_world
from storage.catalog import Catalog
from storage.errors import ConfigError
from storage.records import Label, PartResult, Rejection

KEPT = object.__new__(Label)
CONFIG = GuardConfig(rows=10, input_rows=20, share=0.9)


def rejections(count, stage="rewrite", reason="not_rewritten", first=0):
    return [
        Rejection(f"{first + i}", stage, reason, f"raw answer {first + i}", "set", f"{first + i}.png", "Find [/x].")
        for i in range(count)
    ]


def part(name, *outcomes):
    return PartResult(name, "recipe", tuple(outcomes))


@pytest.mark.parametrize(
    ("outcomes", "broken"),
    [
        ([*rejections(10)], True),
        ([*rejections(9)], False),
        ([*rejections(9), KEPT], True),
        ([*rejections(8), KEPT, KEPT], False),
        ([*rejections(18), KEPT, KEPT], True),
        ([*rejections(17), KEPT, KEPT, KEPT], False),
        ([*rejections(5), *rejections(5, reason="expert_failed")], False),
        ([*rejections(20, "ingest", "image_missing")], True),
        ([*rejections(19, "ingest", "image_missing")], False),
        ([*rejections(20, "ingest", "duplicate")], False),
        # Duplicates do not hide what becomes of the others.
        ([*rejections(50, "ingest", "duplicate"), *rejections(10)], True),
        # The share is of what reached the stage, not of the part.
        ([*rejections(50, "ingest", "image_missing"), *rejections(10)], True),
        ([*rejections(50, "ingest", "image_missing"), *rejections(9), KEPT], True),
        ([*rejections(50, "ingest", "image_missing"), *rejections(8), KEPT, KEPT], False),
        ([*rejections(10, "resolve", "no_box"), KEPT], True),
        ([KEPT] * 40, False),
    ],
)
def test_a_stage_is_broken_that_rejects_nearly_all_that_reach_it_for_one_reason(outcomes, broken):
    assert (find([part("p", *outcomes)], CONFIG) is not None) == broken


def test_the_finding_says_what_it_saw_three_raw_details_and_the_next_step():
    text = str(find([part("p", *rejections(20), KEPT)], CONFIG))
    assert "stage 'rewrite' rejects 20 of the 21 inputs that reached it as 'not_rewritten'" in text
    assert [f"'{n}.png', 'Find [/x].': raw answer {n}" in text for n in range(4)] == [True, True, True, False]
    assert "ivm doctor" in text and "--allow-rejections" in text
    assert "--image-root" in str(find([part("p", *rejections(20, "ingest", "image_missing"))], CONFIG))


@pytest.mark.parametrize("values", [{"rows": 0}, {"input_rows": 0}, {"share": 0.0}, {"share": 1.1}])
def test_a_guard_that_would_stop_everything_or_nothing_is_refused(values):
    with pytest.raises(ConfigError, match="rows and input_rows >= 1 and 0 < share <= 1"):
        GuardConfig(**values)


def decided(*outcomes, config=CONFIG):
    """Names of what was committed, in this order, and of what failed."""
    done, committed = [], []

    def commit(result):
        committed.append(result.part)
        return PartSummary(result.part, len(result.outcomes), True, {})

    given = iter(outcomes)
    for outcome in guarded(given, config, commit):
        done.append(f"{outcome.part}{' failed' if isinstance(outcome, Failure) else ''}")
    return done, len(list(given))


def suspect(name, count):
    return Suspect(part(name, *rejections(count)))


def well(name):
    return PartSummary(name, 4, True, {})


def test_small_parts_in_doubt_wait_until_enough_of_them_tell():
    assert decided(suspect("a", 4), suspect("b", 4), suspect("c", 4), well("d")) == (
        ["a failed", "b failed", "c failed"], 1
    )  # fmt: skip


def test_a_part_that_went_well_or_the_end_commits_those_that_wait():
    assert decided(suspect("a", 4), well("b"), suspect("c", 4), suspect("d", 4)) == (["a", "b", "c", "d"], 0)


def test_after_a_good_start_a_run_goes_on_past_two_refused_parts_and_stops_at_the_third_in_a_row():
    refused = [suspect(name, 12) for name in "bcde"]
    assert decided(well("a"), *refused[:2], well("x"), *refused[2:], well("y")) == (
        ["a", "b failed", "c failed", "x", "d failed", "e failed", "y"], 0
    )  # fmt: skip
    assert decided(well("a"), *refused[:3], well("y")) == (["a", "b failed", "c failed", "d failed"], 1)


def test_without_a_guard_everything_is_committed():
    assert decided(suspect("a", 40), suspect("b", 40), config=None) == (["a", "b"], 0)


def test_a_part_that_was_committed_before_says_nothing_of_the_stage():
    skipped = replace(well("b"), fresh=False)
    assert decided(suspect("a", 5), skipped, suspect("c", 5)) == (["b", "a failed", "c failed"], 0)


class Silent(BaseHTTPRequestHandler):
    """An OpenAI-compatible endpoint whose answers are empty."""

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        message = {"role": "assistant", "content": ""}
        choice = {"index": 0, "finish_reason": "stop", "message": message, "logprobs": None}
        body = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def silent():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Silent)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield ExpertSpec("openai", {"base_url": f"http://127.0.0.1:{server.server_address[1]}/v1", "model": "m"})
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("world"), "val", scenes=8, pairs_per_scene=3, human_share=0.5)


@pytest.mark.parametrize("part_size", [64, 4])
def test_an_endpoint_with_empty_answers_leaves_nothing_that_a_rerun_would_skip(silent, world, tmp_path, part_size):
    run = prepare(world, tmp_path / "data", replace(recipe("demo"), rewriter=silent), part_size)
    with pytest.raises(PartsFailedError, match=r"stage '\w+' rejects 1?[0-9]+ of the [0-9]+ inputs"):
        label_manifest(run)
    assert run.open_parts() == list(run.parts)
    assert not list(run.data.rglob("*.parquet"))


def test_data_that_really_is_so_is_labeled_where_a_person_says_so(silent, world, tmp_path):
    chosen = replace(recipe("demo"), rewriter=silent)
    run = prepare(world, tmp_path / "data", chosen, 12, guard=None)
    assert [summary.fresh for summary in label_manifest(run)] == [True, True]
    with Catalog(run.data) as catalog:
        assert catalog.sql("SELECT count(*) AS n FROM rejections")["n"].to_pylist() == [24]


def test_a_wrong_image_root_stops_and_the_right_one_labels_the_same_parts(world, tmp_path):
    wrong, right = (prepare(world, tmp_path / "data", recipe("demo"), 20, root) for root in (tmp_path, None))
    with pytest.raises(PartsFailedError, match="--image-root") as stopped:
        label_manifest(wrong)
    assert "1 of 2 parts failed, 1 were not tried any more" in str(stopped.value)
    with pytest.raises(BrokenStageError, match="'image_missing'"):
        label_part(wrong, wrong.parts[0])
    assert label_part(right, right.parts[0]).fresh


def test_a_few_rejections_at_the_end_of_a_manifest_are_committed(world, tmp_path):
    manifest = tmp_path / "few.jsonl"
    manifest.write_text('{"image": "gone.png", "instruction": "Find the ring."}\n' * 1 + "{}\n" * 5)
    (summary,) = label_manifest(prepare(manifest, tmp_path / "data", recipe("demo"), 64))
    assert summary.statuses == {"failed: image_missing": 1, "failed: bad_manifest_line": 5}
