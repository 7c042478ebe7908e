import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from harness.settings import HarnessSettings
from harness.stage_store.bucket import BucketStageStore
from harness.stage_store.layered import LayeredStageStore
from harness.stage_store.open import open_stage_store
from harness.stage_store.sqlite import SqliteStageStore
from serving.pipeline.errors import ConfigError, StoreError
from tests.support.world import World

pytestmark = pytest.mark.slow

DEAD = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A bucket of the test's own, and the keys to it."""
    import hashlib

    import boto3

    for name, value in {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true"}.items():
        monkeypatch.setenv(name, value)
    name = "stages-" + hashlib.sha256(request.node.name.encode()).hexdigest()[:12]
    boto3.client("s3", endpoint_url=s3, region_name="us-east-1").create_bucket(Bucket=name)
    return f"s3://{name}/shared/stages"


def places(s3: str, bucket: str, home: Path) -> HarnessSettings:
    return HarnessSettings(home=home, stages=bucket, s3_endpoint=s3)


def test_what_is_read_again_by_many_threads_at_a_time_is_counted_once(s3: str, bucket: str, tmp_path: Path) -> None:
    stages = open_stage_store(places(s3, bucket, tmp_path))
    assert stages
    keys = [f"{number:02x}key" for number in range(20)]
    stages.put_many("embed", dict.fromkeys(keys, b"x"))
    with ThreadPoolExecutor(8) as threads:
        assert all(len(found) == 20 for found in threads.map(lambda _: stages.get_many("embed", keys), range(400)))
    assert (stages.counts.hits["embed"], stages.counts.again["embed"]) == (8000, 8000)


def test_what_one_machine_keeps_another_finds(s3: str, bucket: str, tmp_path: Path) -> None:
    values = {f"{number:02x}key": bytes([number]) * number for number in range(40)}
    one, other = (open_stage_store(places(s3, bucket, tmp_path / name)) for name in ("one", "other"))
    assert one and other
    one.put_many("embed", values)
    assert other.get_many("embed", [*values, "missing"]) == values
    assert (other.counts.hits["embed"], other.counts.misses["embed"]) == (40, 1)
    assert other.get("score", "01key") is None
    assert one.place == other.place == bucket


def test_the_first_value_of_a_key_stays_whoever_wrote_it(s3: str, bucket: str, tmp_path: Path) -> None:
    stores = [BucketStageStore(bucket, places(s3, bucket, tmp_path)) for _ in range(8)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda pair: pair[1].put("answer", "k", str(pair[0]).encode()), enumerate(stores)))
    seen = {store.get("answer", "k") for store in stores}
    assert len(seen) == 1
    stores[0].put("answer", "k", b"another")
    assert {store.get("answer", "k") for store in stores} == seen


def test_a_machine_that_lost_the_race_does_not_keep_its_own_value(s3: str, bucket: str, tmp_path: Path) -> None:
    late = LayeredStageStore(SqliteStageStore(tmp_path), BucketStageStore(bucket, places(s3, bucket, tmp_path)))
    BucketStageStore(bucket, places(s3, bucket, tmp_path)).put("answer", "k", b"first")
    late.put("answer", "k", b"second")
    assert late.get("answer", "k") == b"first"


def test_what_was_fetched_once_is_read_without_the_bucket(s3: str, bucket: str, tmp_path: Path) -> None:
    BucketStageStore(bucket, places(s3, bucket, tmp_path)).put("answer", "k", b"value")
    near = LayeredStageStore(SqliteStageStore(tmp_path), BucketStageStore(bucket, places(s3, bucket, tmp_path)))
    assert near.get("answer", "k") == b"value"
    cut_off = LayeredStageStore(SqliteStageStore(tmp_path), BucketStageStore(bucket, places(DEAD, bucket, tmp_path)))
    assert cut_off.get("answer", "k") == b"value"
    cut_off.put("answer", "k", b"known already")
    with pytest.raises(StoreError, match=r"stage store s3://stages-.* is out of reach"):
        cut_off.put("answer", "new", b"value")
    assert SqliteStageStore(tmp_path).get("answer", "new") is None  # nothing here that is not there


def test_a_bucket_that_is_not_there_or_not_named_is_told_with_its_mend(s3: str, bucket: str, tmp_path: Path) -> None:
    missing = BucketStageStore("s3://nowhere/at/all", places(s3, bucket, tmp_path))
    with pytest.raises(StoreError, match="Make the bucket"):
        missing.put("answer", "k", b"value")
    with pytest.raises(StoreError, match="Make the bucket"):
        missing.get("answer", "k")
    with pytest.raises(ConfigError, match="names no bucket"):
        BucketStageStore("s3://", places(s3, bucket, tmp_path))


def test_two_buckets_have_a_copy_each(tmp_path: Path) -> None:
    folders = [HarnessSettings(home=tmp_path, stages=uri).stage_folder for uri in ("s3://a/b", "s3://a/b/", "s3://a/c", "", "/other")]
    assert folders[0] == folders[1] != folders[2]
    assert folders[3:] == [tmp_path / "stages", Path("/other")]


def test_a_second_machine_evaluates_without_computing_anything(world: World, s3: str, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOUCHSTONE_S3_ENDPOINT", s3)
    monkeypatch.setenv("TOUCHSTONE_STAGES", bucket)
    found = []
    for machine in ("one", "two"):
        monkeypatch.setenv("TOUCHSTONE_HOME", machine)
        said = world.touchstone("eval", "-c", "tiny.yaml", "--golden", "tiny", "--no-tracking", "--name", machine, "--json")
        assert said.code == 0, said.err
        found.append(said.json)
    assert isinstance(found[0], dict) and isinstance(found[1], dict)
    quality = [one["numbers"]["quality"] for one in found]
    assert quality[0] == quality[1]
    shown = world.touchstone("store", "show")
    assert shown.out.startswith(f"{bucket}: ")
    assert "this machine's copy: " in shown.out
    assert all(one["stage"] in shown.out for one in json.loads(world.touchstone("store", "show", "--json").out)["stages"])


def test_the_copy_is_forgotten_here_and_the_bucket_by_its_own_rules(
    world: World, s3: str, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOUCHSTONE_S3_ENDPOINT", s3)
    monkeypatch.setenv("TOUCHSTONE_STAGES", bucket)
    stages = open_stage_store(HarnessSettings())
    assert isinstance(stages, LayeredStageStore)
    stages.put_many("answer", {"a1": b"x", "b2": b"y"})
    said = world.touchstone("store", "gc", "--unused-days", "0")
    assert said.code == 0, said.err
    assert said.out.startswith("2 entries forgotten")
    assert "lifecycle rules" in said.out
    assert stages.copy.sizes() == []
    assert stages.get("answer", "a1") == b"x"


def test_a_bucket_out_of_reach_is_one_line_and_exit_code_3(world: World, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOUCHSTONE_S3_ENDPOINT", DEAD)
    monkeypatch.setenv("TOUCHSTONE_STAGES", bucket)
    for command in (["eval", "-c", "tiny.yaml", "--golden", "tiny", "--no-tracking"], ["store", "show"]):
        said = world.touchstone(*command)
        assert said.code == 3, said
        assert f"The stage store {bucket} is out of reach" in said.err
        assert said.err.strip().count("\n") == 0


def test_without_a_bucket_nothing_of_aws_is_loaded() -> None:
    script = "import sys, harness.evaluation.context; print(any(name.startswith('boto') for name in sys.modules))"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"
