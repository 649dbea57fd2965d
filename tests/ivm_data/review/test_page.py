import base64
import io
import json

import httpx
import numpy as np
import pytest
from PIL import Image

from ivm_data.quality.promised import promised
from ivm_data.quality.regate import current
from ivm_data.review.pace import BREAK, Pace
from ivm_data.review.session import Order, ReviewSession
from storage.catalog import Catalog
from storage.data_set import DataSet
from storage.pixels import rle
from storage.pixels.images import decode
from storage.records import Drawn
from storage.tables import reviews


def queue(page, **filters):
    return page.get("/api/queue", params=filters).raise_for_status().json()


def address(item, end=""):
    return f"/api/labels/{item['part']}/{item['sample_id']}{end}"


def with_mask(page):
    return next(item for item in queue(page)["items"] if item["status"] != "no_target")


def pixels(response):
    return np.asarray(Image.open(io.BytesIO(response.raise_for_status().content)))


def said(data, reviewer="anna"):
    return reviews.read((data / "reviews" / reviewer).glob("*.parquet"))


def test_the_queue_holds_every_label_and_says_what_can_be_filtered(page):
    listed = queue(page)
    assert (len(listed["items"]), listed["total"], listed["reviewed"]) == (36, 36, 0)
    kind = listed["choices"]["kind"][0]
    assert {item["kind"] for item in queue(page, kind=kind)["items"]} == {kind}
    assert {item["status"] for item in queue(page, status="review")["items"]} <= {"review"}
    ids = [item["sample_id"] for item in listed["items"]]
    assert sorted(ids) == sorted(item["sample_id"] for item in queue(page, random=True)["items"])
    assert ids != [item["sample_id"] for item in queue(page, random=True)["items"]]


def test_a_label_is_described_without_its_human_mask_and_shown_in_layers(page):
    item = with_mask(page)
    described = page.get(address(item)).json()
    assert not any("human" in key for key in (*described, *described["scores"])) and len(described["proposals"]) == 2
    image = page.get(address(item, "/image.jpg"))
    assert image.headers["content-type"] == "image/jpeg" and image.headers["x-content-type-options"] == "nosniff"
    assert pixels(image).shape == (described["height"], described["width"], 3)
    label = DataSet.open(page.session.data).label(item["part"], item["sample_id"])
    alpha_HW = np.asarray(Image.open(io.BytesIO(base64.b64decode(described["mask"].partition(",")[2]))))[..., 3]
    np.testing.assert_array_equal(alpha_HW == 255, rle.decode(label.mask))
    for layer in ("heatmap.png", "proposal-0.png", "proposal-1.png"):
        assert pixels(page.get(address(item, f"/{layer}"))).shape[2] == 4
    assert page.get(address(item, "/proposal-2.png")).status_code == 404


def test_a_verdict_says_how_its_label_was_chosen(page, data):
    first = queue(page)["items"][0]
    page.post(address(first, "/review"), json={"verdict": "right"}).raise_for_status()
    second = queue(page, random=True, kind=first["kind"])["items"][0]
    page.post(address(second, "/review"), json={"verdict": "right"}).raise_for_status()
    assert [one.drawn for one in said(data)] == [Drawn("informative"), Drawn("random", kind=first["kind"])]


def test_a_condition_chooses_labels_in_the_order_of_the_queue_before_they_are_counted(page):
    every = queue(page)["items"]
    chosen = queue(page, where="quality > 0.5 AND length(instruction) > 10 -- that is all")["items"]
    ids = [item["sample_id"] for item in chosen]
    with Catalog(page.session.data) as catalog:
        kept = catalog.sql("SELECT sample_id FROM labels WHERE quality > 0.5 AND length(instruction) > 10")
    assert 0 < len(ids) < len(every) and set(ids) == set(kept["sample_id"].to_pylist())
    assert ids == [item["sample_id"] for item in every if item["sample_id"] in set(ids)]
    few = page.session.queue("quality > 0.5 AND length(instruction) > 10", limit=3)["items"]
    assert [item["sample_id"] for item in few] == ids[:3]


@pytest.mark.parametrize(
    ("where", "why"),
    [
        ("true) OR (true", "one SQL expression"),
        ("1; SELECT 1", "one SQL expression"),
        ("(SELECT count(*) FROM read_text('/etc/passwd')) > 0", "/etc/passwd"),
        ("no_such_column > 1", "no_such_column"),
        ("quality >", "one SQL expression"),
        ("x" * 2001, "at most 2000"),
    ],
)
def test_a_condition_that_is_none_is_refused_in_words(page, where, why):
    refused = page.get("/api/queue", params={"where": where})
    assert refused.status_code == 422 and why in refused.text and "root:" not in refused.text


def test_verdicts_under_a_condition_are_no_random_sample(page, data):
    item = queue(page, random=True, where="quality > 0.1")["items"][0]
    page.post(address(item, "/review"), json={"verdict": "right"}).raise_for_status()
    item = queue(page, random=True, where=" ")["items"][0]
    page.post(address(item, "/review"), json={"verdict": "right"}).raise_for_status()
    assert [one.drawn for one in said(data)] == [Drawn("informative"), Drawn("random")]


def test_many_labels_are_accepted_at_once_and_taken_back_at_once(page, data):
    items = queue(page)["items"][:5]
    labels = [{"part": item["part"], "sample_id": item["sample_id"]} for item in items]
    told = page.post("/api/accept", json={"labels": labels}).raise_for_status().json()
    assert told["reviewed"] == 5
    assert [(r.sample_id, r.verdict) for r in said(data)] == [(item["sample_id"], "right") for item in items]
    taken = page.post("/api/undo", json={"count": 4}).raise_for_status().json()
    assert taken["undone"]["sample_id"] == items[1]["sample_id"] and taken["reviewed"] == 1
    assert [r.sample_id for r in reviews.current(said(data))] == [items[0]["sample_id"]]


@pytest.mark.parametrize(
    "labels", [[], [{"part": "../x", "sample_id": "00"}], [{"part": "part-00000", "sample_id": "0" * 32}]]
)
def test_labels_that_are_not_there_are_not_accepted_and_none_beside_them(page, data, labels):
    first = queue(page)["items"][0]
    known = [{"part": first["part"], "sample_id": first["sample_id"]}] if labels else []
    assert page.post("/api/accept", json={"labels": known + labels}).status_code == 422
    assert not (data / "reviews").exists()


def test_the_grid_has_a_small_picture_with_the_mask_in_it(page):
    item = with_mask(page)
    seen_HWC = pixels(page.get(address(item, "/thumb.jpg"))).astype(int)
    label = DataSet.open(page.session.data).label(item["part"], item["sample_id"])
    image_HWC = decode(label.sample.image)
    bare_HWC = np.asarray(Image.fromarray(image_HWC).resize((320, 320))).astype(int)
    changed_HW = np.abs(seen_HWC - bare_HWC).max(axis=2) > 60
    mask_HW = np.asarray(Image.fromarray(rle.decode(label.mask)).resize((320, 320)))
    assert seen_HWC.shape == (320, 320, 3)
    assert changed_HW[mask_HW].mean() > 0.5 > 10 * changed_HW[~mask_HW].mean()


@pytest.mark.parametrize("precision", [0.5, 0.95])
def test_what_a_promise_needs_is_what_the_gate_would_say(page, data, precision):
    for item in queue(page, random=True)["items"][:12]:
        page.post(address(item, "/review"), json={"verdict": "right"}).raise_for_status()
    told = page.get("/api/promise", params={"precision": precision}).raise_for_status().json()
    with DataSet.open(data) as opened:
        (expected,) = promised(opened, current(opened), precision).groups.values()
    assert {name: told[name] for name in ("accept", "accepted", "judged", "more")} == {
        name: getattr(expected, name) for name in ("accept", "accepted", "judged", "more")
    }
    assert ("holds" in told["text"]) == (expected.accept is not None)
    assert page.get("/api/promise", params={"precision": 1}).status_code == 422


def test_the_page_says_how_many_verdicts_a_judge_still_needs(page, data):
    before = page.get("/api/judge").raise_for_status().json()
    assert before["text"] == f"{before['more']} more verdicts and the judge is trained"
    with DataSet.open(data) as opened:
        teaching = {one.sample.id for one in opened.labels() if one.sample.human_mask and not one.sample.held_out}
    assert before["verdicts"] == len(teaching) and before["more"] == 50 - len(teaching)
    item = next(item for item in queue(page)["items"] if item["sample_id"] in teaching)
    for verdict, more in (("unsure", 0), ("wrong", 0), ("wrong_instruction", 1)):
        page.post(address(item, "/review"), json={"verdict": verdict}).raise_for_status()
        assert page.get("/api/judge").json()["more"] == before["more"] + more


def test_progress_says_how_many_are_left_of_the_order_and_how_fast_it_goes(data):
    session = ReviewSession(data, "anna", order=Order(random=True, limit=5))
    assert session.progress()["left"] == 5 and session.progress()["seconds"] is None
    for item in session.queue()["items"][:3]:
        session.decide(session.shown(item["part"], item["sample_id"]), "right")
    told = session.progress()
    assert told["left"] == 2 and told["seconds"] >= 0


def test_the_pace_leaves_out_breaks_and_counts_each_label_of_many():
    pace = Pace()
    for at in (0.0, 10.0, 20.0):
        pace.add(at=at)
    assert pace.seconds == 10
    pace.add(at=20.0 + 3600)
    assert pace.seconds == pytest.approx((20 + BREAK) / 3)
    pace.add(40, at=20.0 + 3600 + 37)
    assert pace.seconds == pytest.approx((20 + BREAK + 37) / 43)


def test_a_session_for_a_promise_brings_so_many_labels_in_random_order_and_no_more(data):
    session = ReviewSession(data, "anna", order=Order(random=True, limit=3, above=0.1))
    items = session.queue(random=False)["items"]
    assert len(items) == 3 and all(item["quality_entropy"] is not None for item in items)
    for item in items[:2]:
        session.decide(session.shown(item["part"], item["sample_id"]), "right")
    assert len(session.queue()["items"]) == 1
    with DataSet.open(data) as opened:
        quality = current(opened).quality_hash
    assert {one.drawn for one in said(data)} == {Drawn("random", above=0.1, quality=quality)}


@pytest.mark.parametrize("verdict", ["right", "wrong", "wrong_instruction", "unsure"])
def test_a_decision_is_a_shard_at_once_and_leaves_the_queue(page, data, verdict):
    first = queue(page)["items"][0]
    progress = page.post(address(first, "/review"), json={"verdict": verdict, "note": "ü"}).raise_for_status().json()
    assert progress["reviewed"] == 1
    (review,) = said(data)
    assert (review.sample_id, review.verdict, review.note, review.mask) == (first["sample_id"], verdict, "ü", None)
    assert first["sample_id"] not in [item["sample_id"] for item in queue(page)["items"]]
    assert page.get(address(first)).json()["verdict"] == verdict


def test_undo_withdraws_the_latest_current_review_and_rewrites_nothing(page, data, served):
    items = queue(page)["items"][:2]
    for item in items:
        page.post(address(item, "/review"), json={"verdict": "right"})
    before = {path: path.read_bytes() for path in data.glob("reviews/anna/*.parquet")}
    with served(data) as (access, _):  # also after a restart
        secret = {"X-Review-Secret": access.secret}
        undone = [
            httpx.post(f"{access.url}api/undo", json={}, headers=secret, timeout=60).json()["undone"] for _ in range(3)
        ]
    assert [one and one["sample_id"] for one in undone] == [items[1]["sample_id"], items[0]["sample_id"], None]
    assert undone[0]["part"] == items[1]["part"]
    assert len(said(data)) == 4 and not reviews.current(said(data))
    assert all(path.read_bytes() == content for path, content in before.items())


def centre(page, item):
    label = DataSet.open(page.session.data).label(item["part"], item["sample_id"])
    y, x = (int(v.mean()) for v in np.nonzero(rle.decode(label.sample.human_mask)))
    return x, y


def area(page, item, edits, start="nothing"):
    asked = {"edits": edits, "start": start}
    return page.post(address(item, "/edits"), json=asked).raise_for_status().json()["area"]


def test_prompts_add_and_take_away_what_the_segmenter_sees_and_are_saved_as_the_right_mask(page, data):
    item = with_mask(page)
    x, y = centre(page, item)
    add, away = ({"kind": kind, "points": [[x, y]]} for kind in ("add", "remove"))
    box = {"kind": "box", "points": [[x + 20, y + 20], [max(x - 20, 0), max(y - 20, 0)]]}
    label = DataSet.open(data).label(item["part"], item["sample_id"])

    assert area(page, item, []) == 0 and area(page, item, [], "label") == rle.area(label.mask)
    assert area(page, item, [add]) > 0 and area(page, item, [box]) > 0 and area(page, item, [add, away]) == 0
    made = {"verdict": "wrong", "corrected": True, "edits": [add], "start": "nothing"}
    page.post(address(item, "/review"), json=made).raise_for_status()
    (review,) = said(data)
    assert review.verdict == "wrong" and rle.area(review.mask) == area(page, item, [add])


def test_brush_eraser_and_polygon_change_the_mask_in_their_order_without_a_segmenter(page):
    item = with_mask(page)
    stroke = {"points": [[20, 20], [40, 20]], "radius": 5}
    square = [[10, 10], [30, 10], [30, 30], [10, 30]]
    brush, eraser = {"kind": "brush"} | stroke, {"kind": "eraser"} | stroke
    assert abs(area(page, item, [brush]) - (10 * 20 + 25 * np.pi)) < 12
    assert area(page, item, [brush, eraser]) == 0 < area(page, item, [eraser, brush])
    assert abs(area(page, item, [{"kind": "polygon", "points": square}]) - 400) <= 40
    described = page.get(address(item)).json()
    pixels_of_image = described["width"] * described["height"]
    assert abs(pixels_of_image - area(page, item, [{"kind": "cut", "points": square}], "everything") - 400) <= 40
    assert page.session.repair._segmenter is None


def test_nothing_and_everything_are_masks_that_can_be_saved(page, data):
    items = [item for item in queue(page)["items"] if item["status"] != "no_target"][:2]
    for item, start in zip(items, ("nothing", "everything"), strict=True):
        made = {"verdict": "wrong", "corrected": True, "start": start}
        page.post(address(item, "/review"), json=made).raise_for_status()
    nothing, everything = said(data)
    assert rle.area(nothing.mask) == 0 and rle.area(everything.mask) == everything.mask.width * everything.mask.height


def test_the_segmenter_that_looked_at_an_image_answers_about_it(page):
    item = with_mask(page)
    assert page.post(address(item, "/look"), json={}).json() == {"joins": False}
    x, y = centre(page, item)
    assert area(page, item, [{"kind": "add", "points": [[x, y]]}]) > 0


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"edits": [{"kind": "add", "points": [[5000, 1]]}]}, "outside"),
        ({"edits": [{"kind": "add", "points": [[-1, 1]]}]}, "greater than or equal"),
        ({"edits": [{"kind": "paint", "points": [[1, 1]]}]}, "box"),
        ({"edits": [{"kind": "polygon", "points": [[1, 1], [2, 2]]}]}, "takes 3 to"),
        ({"edits": [{"kind": "box", "points": [[1, 1]]}]}, "takes 2 to 2"),
        ({"edits": [{"kind": "brush", "points": [[1, 1]], "radius": 1e9}]}, "less than or equal"),
        ({"edits": [{"kind": "brush", "points": []}]}, "at least 1"),
        ({"edits": [{"kind": "add", "points": [[1, 1]]}] * 501}, "at most 500"),
        ({"start": "elsewhere"}, "everything"),
    ],
)
def test_edits_that_cannot_be_are_refused_in_words(page, body, why):
    refused = page.post(address(with_mask(page), "/edits"), json=body)
    assert refused.status_code == 422 and why in refused.text


def test_a_verdict_outside_the_closed_set_writes_nothing(page, data):
    refused = page.post(address(with_mask(page), "/review"), json={"verdict": "withdrawn"})
    assert refused.status_code == 422 and not (data / "reviews").exists()


def test_the_agreement_page_names_both_and_escapes_what_it_shows(page, data):
    first = queue(page)["items"][0]
    for reviewer in ("anna", "ben"):
        reviews.append(data, page.session.recipe, first["sample_id"], reviewer, "right")
    text = page.get("/agreement").text
    assert "anna, ben" in text and "100 %" in text
    assert json.loads(json.dumps(queue(page)["agreement"]))[0]["kappa"] is None


@pytest.mark.parametrize(
    "body",
    [
        b'{"edits": [{"kind": "add", "points": [[NaN, 1]]}]}',
        b'{"verdict": "wrong", "corrected": true, "edits": [{"kind": "add", "points": [[Infinity, 1]]}]}',
        b'{"verdict": "wrong", "corrected": true, "edits": [{"kind": "add", "points": [[1e999, 1]]}]}',
        b'{"verdict": "right", "note": "\\ud800"}',
        b'{"verdict": "right", "note": "' + "\ud800".encode("utf-8", "surrogatepass") + b'"}',
        b'{"verdict": "right", "\\udfff": 1}',
        b'{"verdict": "right", "note": "\xff"}',
        b'{"verdict": "right"',
        b"[" * 60_000,
        b"",
    ],
)
@pytest.mark.parametrize("end", ["/review", "/edits"])
def test_a_body_that_no_row_could_hold_is_a_bad_request_and_writes_nothing(page, data, body, end):
    item = with_mask(page)
    refused = page.post(address(item, end), content=body, headers={"Content-Type": "application/json"})
    assert (refused.status_code, "finite numbers" in refused.text) == (400, True)
    assert not (data / "reviews").exists()


def test_a_whole_surrogate_pair_and_other_signs_are_kept(page, data):
    first = queue(page)["items"][0]
    body = b'{"verdict": "right", "note": "\\ud83d\\ude80 \\u202e \\u0000"}'
    page.post(address(first, "/review"), content=body, headers={"Content-Type": "application/json"}).raise_for_status()
    assert said(data)[0].note == "🚀 \u202e \0"
