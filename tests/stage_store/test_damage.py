"""A damaged value is a miss: it is told once, computed again and replaced, and never an error or another value."""

import json
import logging
import random
import sqlite3
import zlib
from collections.abc import Iterator
from pathlib import Path

import boto3
import numpy as np
import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding
from moto.server import ThreadedMotoServer

from harness.results.score import Score
from harness.settings import HarnessSettings
from harness.stage_store.base import HitCounts, StageStore, pack, unpack, value_sum
from harness.stage_store.bucket import BucketStageStore
from harness.stage_store.embed import CachedEmbeddings
from harness.stage_store.layered import LayeredStageStore
from harness.stage_store.score import CachedScores
from harness.stage_store.sqlite import SqliteStageStore
from serving.pipeline.config import load_config
from tests.stage_store.test_stages import evaluated, scores
from tests.support.world import World

VALUES = {
    "score": pack([0.5, ""]),
    "embed": np.arange(8, dtype="<f4").tobytes(),
    "answer": pack({"text": "Twenty-five days. " * 40}),
    "search": pack([["a", 0.5], ["b", 0.25]]),
    "chunk": b"x",
}


def change(path: Path, stage: str, value: object) -> None:
    with sqlite3.connect(path) as base:
        assert base.execute("UPDATE kept SET value = ? WHERE stage = ?", (value, stage)).rowcount == 1
    base.close()


def flips(value: bytes) -> Iterator[bytes]:
    chance = random.Random(len(value))
    for place in sorted({0, len(value) - 1, *(chance.randrange(len(value)) for _ in range(6))}):
        changed = bytearray(value)
        changed[place] ^= 1 << chance.randrange(8)
        yield bytes(changed)


@pytest.mark.parametrize("stage", VALUES)
def test_a_flipped_bit_of_any_value_is_a_miss_that_is_replaced(stage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store, value = SqliteStageStore(tmp_path), VALUES[stage]
    store.put(stage, "k", value)
    done = 0
    for damaged in [*flips(value), b"", value + b"\0", value.decode("latin-1")]:
        change(store.path, stage, damaged)
        assert store.get(stage, "k") is None
        store.put(stage, "k", value)
        assert store.get(stage, "k") == value
        done += 1
    assert store.counts.damaged == {stage: done}
    assert store.counts.summary().endswith(f"{done} damaged and computed again")
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        f"{store.path}: damaged values were found, first of stage {stage}; they are computed again and replaced"
    ]


def test_values_that_changed_places_are_misses(tmp_path: Path) -> None:
    store = SqliteStageStore(tmp_path)
    store.put_many("score", {"a": pack([0.0, ""]), "b": pack([1.0, ""])})
    store.put("embed", "a", b"v")
    with sqlite3.connect(store.path) as base:
        base.execute("UPDATE kept SET key = CASE key WHEN 'a' THEN 'x' ELSE key END WHERE stage = 'score'")
        base.execute("UPDATE kept SET key = 'a' WHERE stage = 'score' AND key = 'b'")
        base.execute("UPDATE kept SET stage = 'search' WHERE stage = 'embed'")
    base.close()
    assert store.get_many("score", ["a", "b"]) == {}
    assert store.get("search", "a") is None


def test_a_whole_value_beside_a_damaged_one_is_read(tmp_path: Path) -> None:
    store = SqliteStageStore(tmp_path)
    store.put_many("embed", {"a": b"one", "b": b"two"})
    with sqlite3.connect(store.path) as base:
        base.execute("UPDATE kept SET value = x'00' WHERE key = 'a'")
    base.close()
    assert store.get_many("embed", ["a", "b", "c"]) == {"b": b"two"}
    assert (store.counts.hits["embed"], store.counts.misses["embed"], store.counts.damaged["embed"]) == (1, 2, 1)


def test_a_damaged_vector_is_embedded_again_and_a_damaged_score_is_scored_again(tmp_path: Path) -> None:
    store = SqliteStageStore(tmp_path)
    embeddings = CachedEmbeddings("m", lambda: DeterministicFakeEmbedding(size=4), store)
    first = embeddings.vectors(["text"])
    change(store.path, "embed", np.zeros(4, "<f4").tobytes())
    assert embeddings.vectors(["text"]).tolist() == first.tolist()
    scores = CachedScores(store, {"quality": "k"})
    scores.store_all([Score("quality", 0.0)])
    change(store.path, "score", pack([1.0, ""]))
    assert scores.find() == {}
    scores.store_all([Score("quality", 0.0)])
    assert scores.find() == {"quality": Score("quality", 0.0, "")}


def test_a_file_from_before_there_were_sums_keeps_its_values(tmp_path: Path) -> None:
    path = tmp_path / "stages.db"
    with sqlite3.connect(path) as base:
        base.execute("CREATE TABLE kept (stage TEXT, key TEXT, value BLOB, used_day INTEGER, PRIMARY KEY (stage, key)) WITHOUT ROWID")
        base.execute("INSERT INTO kept VALUES ('answer', 'k', ?, 1)", (VALUES["answer"],))
    base.close()
    stores = [SqliteStageStore(tmp_path) for _ in range(2)]
    assert [store.get("answer", "k") for store in stores] == [VALUES["answer"]] * 2
    assert not stores[0].counts.damaged
    change(path, "answer", zlib.compress(json.dumps({"text": "Ninety-nine days. " * 40}).encode()))
    assert stores[1].get("answer", "k") is None


def test_an_evaluation_over_a_damaged_store_has_the_same_scores_and_no_error(world: World) -> None:
    config = load_config(world.root / "tiny.yaml")
    stages = SqliteStageStore(world.root / "stages")
    first = evaluated(world, config, stages)
    with sqlite3.connect(stages.path) as base:
        rows = base.execute("SELECT stage, key, value FROM kept").fetchall()
        for stage, key, value in rows:
            changed = bytearray(value)
            changed[len(changed) // 2] ^= 4
            base.execute("UPDATE kept SET value = ? WHERE stage = ? AND key = ?", (bytes(changed), stage, key))
    base.close()
    assert {stage for stage, _, _ in rows} >= {"answer", "chunk", "embed", "retrieve", "score", "search"}
    again = SqliteStageStore(world.root / "stages")
    second = evaluated(world, config, again)
    assert scores(second) == scores(first)
    assert all(row.error is None for row in second.rows)
    assert again.counts.damaged.total() > len(second.rows)
    third = SqliteStageStore(world.root / "stages")
    assert scores(evaluated(world, config, third)) == scores(first)
    assert not third.counts.damaged


def test_a_sum_is_that_of_one_key() -> None:
    sums = {value_sum(stage, key, value) for stage in ("a", "b") for key in ("a", "b") for value in (b"", b"a", b"b")}
    assert len(sums) == 12
    assert {len(one) for one in sums} == {8}
    assert unpack(VALUES["score"]) == [0.5, ""]


def test_counts_say_nothing_of_damage_where_there_was_none() -> None:
    counts = HitCounts()
    counts.add("answer", 1, 2)
    assert counts.summary() == "answer 1/3"


@pytest.mark.slow
def test_a_flipped_bit_of_an_object_is_a_miss_that_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, secret in {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true"}.items():
        monkeypatch.setenv(name, secret)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    places = HarnessSettings(home=tmp_path, stages="s3://damage/stages", s3_endpoint=f"http://{host}:{port}")
    client = boto3.client("s3", endpoint_url=places.s3_endpoint, region_name="us-east-1")
    client.create_bucket(Bucket="damage")
    shared = BucketStageStore(places.stages, places)
    stores: list[StageStore] = [shared]
    for stage, value in VALUES.items():
        shared.put(stage, "key", value)
        stored = client.get_object(Bucket="damage", Key=f"stages/{stage}/ke/key")["Body"].read()
        for damaged in [*flips(stored), b"", stored[:-1]]:
            client.put_object(Bucket="damage", Key=f"stages/{stage}/ke/key", Body=damaged)
            layered = LayeredStageStore(SqliteStageStore(tmp_path / f"copy{len(stores)}"), BucketStageStore(places.stages, places))
            stores.append(layered)
            assert layered.get(stage, "key") is None
            assert layered.counts.damaged == {stage: 1}
            layered.put(stage, "key", value)
            assert shared.get(stage, "key") == layered.get(stage, "key") == value
    server.stop()
