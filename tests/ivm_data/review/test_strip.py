"""An episode on the review page: its labels in time, and a corrected mask that is carried to those beside it."""

import importlib.util
from pathlib import Path

import httpx
import pytest

from storage.data_set import DataSet
from storage.pixels import rle
from storage.tables import reviews

BUILDERS = Path(__file__).parents[1] / "engine" / "test_retracking.py"
WRONG = 8


@pytest.fixture
def episode(tmp_path):
    """(data set, sample ids by frame, truth by frame): two episodes of 25 frames, key frame 8 of the first is wrong."""
    spec = importlib.util.spec_from_file_location("retracking_builders", BUILDERS)
    builders = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(builders)
    data, ids, _ = builders.write_labeled(tmp_path / "episode", builders.tracking_builders())
    return data, ids, builders.tracking_builders().truth


@pytest.fixture
def client(episode, served):
    with served(episode[0]) as (access, session), httpx.Client(base_url=access.url, timeout=60) as asking:
        asking.headers["X-Review-Secret"] = access.secret
        asking.session = session
        yield asking


def strip_of(client, part, sample_id):
    return client.get(f"/api/labels/{part}/{sample_id}/strip").json()


def overlap(data, name, mask_HW):
    with DataSet.open(data) as opened:
        return rle.iou(opened.masks([name])[name], rle.encode(mask_HW))


def test_a_strip_has_the_labels_beside_one_in_the_order_of_time(client, episode):
    _, ids, _ = episode
    told = strip_of(client, "part", ids[8])
    assert [step["sample_id"] for step in told["steps"]] == ids[2:15] and told["tracks"]
    assert [step["frame"] for step in told["steps"] if step["is_key"]] == [8]
    assert [step["frame"] for step in strip_of(client, "part", ids[1])["steps"]] == list(range(8))
    about = client.get(f"/api/labels/part/{ids[8]}").json()
    assert (about["episode"], about["camera"], about["frame"]) == ("toy/0", "high", 8)


def test_a_still_has_no_strip(page):
    item = page.get("/api/queue").json()["items"][0]
    told = page.get(f"/api/labels/{item['part']}/{item['sample_id']}/strip").json()
    assert told == {"steps": [], "tracks": False}


def test_a_corrected_mask_is_carried_to_the_labels_beside_it_when_that_is_asked_for(client, episode):
    data, ids, truth = episode
    judged = {"verdict": "wrong", "corrected": True, "start": "nothing"}
    square = [(12, 20), (28, 20), (28, 36), (12, 36)]
    judged["edits"] = [{"kind": "polygon", "points": square}]
    path = f"/api/labels/part/{ids[WRONG]}"
    assert client.post(f"{path}/review", json=judged).status_code == 200
    assert overlap(data, ids[7], truth(7)) < 0.1, "nothing is carried before it is asked for"
    told = client.post(f"{path}/retrack", json={}).json()
    assert (told["corrected"], told["changed"], told["parts"]) == (1, 14, ["part@1"])
    assert overlap(data, ids[7], truth(7)) > 0.7
    assert {step["part"] for step in strip_of(client, "part", ids[8])["steps"]} == {"part", "part@1"}
    assert client.get(f"/api/labels/part/{ids[7]}").status_code == 422, "that row counts no more"
    assert client.get(f"/api/labels/part@1/{ids[7]}").status_code == 200
    client.post("/api/undo", json={"count": 1})
    assert client.post(f"{path}/retrack", json={}).json()["changed"] == 14
    assert overlap(data, ids[7], truth(7)) < 0.1


def test_carrying_needs_the_secret_of_the_page(client, episode):
    _, ids, _ = episode
    del client.headers["X-Review-Secret"]
    assert client.post(f"/api/labels/part/{ids[WRONG]}/retrack", json={}).status_code == 403


@pytest.mark.slow
@pytest.mark.parametrize("size", [(1366, 768), (1920, 1080)])
def test_a_person_steps_through_an_episode_fixes_a_key_frame_and_carries_it(reviewing, episode, tmp_path, size):
    data, ids, truth = episode
    with reviewing(size, of=data) as screen:
        page = screen.page

        def stepped():
            page.wait_for_selector(f"body[data-strip='{screen.idle()}']")
            return screen.label

        while stepped() not in ids:
            screen.next_by("j")
        while screen.label != ids[WRONG]:
            before = screen.label
            screen.press(">" if ids.index(before) < WRONG else "<")
            screen.next(before)
            stepped()
        page.wait_for_selector("#strip .step.key[aria-current]")
        assert page.locator("#strip .step").count() == 13 and page.locator("#strip .key").count() == 1
        for tile in page.locator("#strip img").all():
            box = tile.bounding_box()
            assert box["width"] > 30 and box["y"] + box["height"] <= size[1]
        screen.press("e")
        screen.press("p")
        for x, y in ((12, 20), (28, 20), (28, 36), (12, 36)):
            screen.mouse.click(*screen.at(x, y))
        screen.press("Enter")
        screen.area(changed_from=0)
        page.screenshot(path=tmp_path / "strip.png")
        screen.next_by("f")
        page.wait_for_selector("#carry:visible")
        page.screenshot(path=tmp_path / "offered.png")
        screen.press("y")
        page.wait_for_selector("#message-text:text('14 frames have new masks')")
        page.wait_for_selector("#carry", state="hidden")
        stepped()
        page.screenshot(path=tmp_path / "carried.png")
    assert overlap(data, ids[7], truth(7)) > 0.7
    assert [one.verdict for one in reviews.read((data / "reviews" / "anna").glob("*.parquet"))] == ["wrong"]


@pytest.mark.slow
def test_a_click_on_the_strip_opens_a_frame_and_stills_show_none(reviewing, episode, many):
    data, _, _ = episode
    with reviewing(of=data) as screen:
        page = screen.page
        page.wait_for_selector(f"body[data-strip='{screen.idle()}']")
        before = screen.label
        page.locator("#strip .step:not([aria-current])").first.click()
        screen.next(before)
        page.wait_for_selector(f"body[data-strip='{screen.label}']")
        assert page.locator("#strip .step[aria-current]").count() == 1
    with reviewing(of=many) as screen:
        screen.idle()
        assert not screen.page.locator("#strip").is_visible()
