"""An S3 server on loopback: what is committed here is committed there, once, whole, and comes back the same."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer
from s3fs import S3FileSystem

from storage.data_set import DataSet
from storage.errors import ConfigError, ShardError, TransientError
from storage.parts.layout import heavy_path, light_path
from storage.parts.shards import commit_part
from storage.upkeep.compact import compact
from storage.upkeep.digest import content_hash
from storage.upkeep.remote import committed, pull, push, push_part
from storage.upkeep.verify import verify

PUSH = (
    "import sys; from pathlib import Path; from storage.upkeep.remote import push; push(Path(sys.argv[1]), sys.argv[2])"
)


@pytest.fixture(scope="module")
def s3():
    """A client of a server of its own, which fsspec finds by the same variables as a user's."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    variables = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        # A file system that an earlier test made knows that test's endpoint.
        S3FileSystem.clear_instance_cache()
        yield boto3.client("s3")
    server.stop()


@pytest.fixture
def bucket(s3, request):
    name = f"b{abs(hash(request.node.name))}"
    s3.create_bucket(Bucket=name)
    return name


def keys(s3, bucket):
    return [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]


def test_a_data_set_comes_back_the_same_and_nothing_travels_twice(s3, bucket, small_data, tmp_path, build):
    data = Path(shutil.copytree(small_data, tmp_path / "data"))
    snapshot = DataSet.open(data).freeze()
    url = f"s3://{bucket}/some/folder"
    sent = push(data, url)
    assert sent.moved == len(keys(s3, bucket)) == len([p for p in data.rglob("*") if p.is_file()])
    assert push(data, url).moved == 0
    assert committed(url, build.RECIPE) == {"part-00000", "part-00001"}

    back = tmp_path / "back"
    assert pull(url, back).moved == sent.moved
    assert pull(url, back).moved == 0
    assert verify(back) == ()
    assert content_hash(back) == content_hash(data)
    assert DataSet.open(back).freeze().name == snapshot.name


@pytest.mark.slow
def test_a_push_that_is_killed_leaves_no_part_without_its_heavy_file_and_the_next_one_ends_it(
    s3, bucket, tmp_path, build
):
    data = tmp_path / "data"
    for part in build.make_run(12):
        commit_part(data, part)
    url, seen = f"s3://{bucket}/data", []
    for after in (13, 2):
        seen += [kill_push(s3, bucket, data, url, after)]
        there = set(keys(s3, bucket))
        lights = {key for key in there if key.endswith(".light.parquet")}
        assert {key.replace(".light.", ".heavy.") for key in lights} <= there
        pull(url, tmp_path / f"back-{after}")
    assert 0 < seen[0] < seen[-1] < len(list(data.rglob("*.parquet")))
    push(data, url)
    pull(url, tmp_path / "back")
    assert content_hash(tmp_path / "back") == content_hash(data)


def kill_push(s3, bucket, data, url, after):
    """Kill a push once so many more objects are there; returns how many there are."""
    goal = len(keys(s3, bucket)) + after
    with subprocess.Popen([sys.executable, "-c", PUSH, data, url]) as process:
        while len(keys(s3, bucket)) < goal and process.poll() is None:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
    return len(keys(s3, bucket))


def test_a_heavy_file_alone_is_no_part(s3, bucket, small_data, tmp_path, build):
    heavy = heavy_path(light_path(small_data, build.RECIPE, "part-00000"))
    s3.upload_file(str(heavy), bucket, f"data/{heavy.relative_to(small_data)}")
    assert committed(f"s3://{bucket}/data", build.RECIPE) == set()
    assert pull(f"s3://{bucket}/data", tmp_path).moved == 0
    push(small_data, f"s3://{bucket}/data")
    assert committed(f"s3://{bucket}/data", build.RECIPE) == {"part-00000", "part-00001"}


def test_of_two_who_commit_a_part_at_once_one_wins_and_the_other_is_reported(s3, bucket, tmp_path, build):
    url = f"s3://{bucket}/data"
    ours, same = (commit_part(tmp_path / name, build.make_part("p", 4)) for name in ("ours", "same"))
    pushes = [
        threading.Thread(target=push_part, args=(tmp_path / name, url, each.light))
        for name, each in (("ours", ours), ("same", same))
    ]
    for thread in pushes:
        thread.start()
    for thread in pushes:
        thread.join()
    pull(url, tmp_path / "back")
    assert content_hash(tmp_path / "back") == content_hash(tmp_path / "ours")

    other = commit_part(tmp_path / "other", build.make_part("p", 5))
    with pytest.raises(ShardError, match="holds other contents than"):
        push_part(tmp_path / "other", url, other.light)
    with pytest.raises(ShardError, match="holds other contents than"):
        push(tmp_path / "other", url)
    with pytest.raises(ShardError, match="holds other contents than"):
        pull(url, tmp_path / "other")
    assert content_hash(tmp_path / "back") == content_hash(tmp_path / "ours")


def test_parts_are_known_and_read_after_a_compaction(bucket, tmp_path, build):
    data, url = tmp_path / "data", f"s3://{bucket}/data"
    for part in build.make_run(4):
        commit_part(data, part)
    push(data, url)
    whole, names = content_hash(data), committed(url, build.RECIPE)
    compact(data)
    push(data, url)
    assert committed(url, build.RECIPE) == names
    pull(url, tmp_path / "back")
    assert content_hash(tmp_path / "back") == whole
    assert verify(tmp_path / "back") == ()


@pytest.mark.parametrize("url", ["data", "s3://", "file:///data", "http://host/data"])
def test_what_is_no_object_store_is_refused(url, small_data):
    with pytest.raises(ConfigError, match="looks like s3://BUCKET/FOLDER"):
        push(small_data, url)


def test_a_bucket_that_is_not_there_and_a_store_that_does_not_answer_are_told_apart(s3, small_data, monkeypatch):
    with pytest.raises(ConfigError, match="check bucket, endpoint and credentials"):
        push(small_data, "s3://no-such-bucket/data")
    env = os.environ | {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"}
    code = (
        f"{PUSH.removesuffix('push(Path(sys.argv[1]), sys.argv[2])')}\ntry:\n    push(Path(sys.argv[1]), sys.argv[2])\n"
    )
    code += "except Exception as error:\n    print(type(error).__name__)"
    done = subprocess.run(
        [sys.executable, "-c", code, small_data, "s3://b/data"], env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == TransientError.__name__
