import asyncio
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.embeddings import Embeddings

from harness.evaluation.evaluator import Evaluator
from harness.evaluation.factory import PipelineFactory
from harness.golden.load import load_golden
from harness.judges.tools import Tools
from harness.metrics import metric
from harness.results.report import EvalReport
from harness.results.score import Score
from harness.settings import HarnessSettings
from harness.stage_store.base import HitCounts, ReusedShare, key_of, pack, reused_share, unpack
from harness.stage_store.chunks import CachedChunks
from harness.stage_store.embed import CachedEmbeddings, CachedTokenEmbeddings
from harness.stage_store.open import configured_stage_store, open_stage_store
from harness.stage_store.score import CachedScores
from harness.stage_store.search import CachedSearches
from harness.stage_store.sqlite import SqliteStageStore
from serving.pipeline.config import RagConfig, load_config
from serving.pipeline.errors import ConfigError, DataError, StoreError
from serving.pipeline.index import STORES
from serving.pipeline.index.base import Filter
from serving.pipeline.index.corpus import load_corpus
from serving.pipeline.models.hashing import HashingEmbeddings
from serving.pipeline.prompts import PromptLibrary
from serving.pipeline.registry import Spec
from serving.pipeline.settings import PipelineSettings
from serving.pipeline.types import Chunk, Trace
from tests.support.making import a_case, a_hit, a_trace
from tests.support.world import World

METRICS = ("recall@5", "mrr@10", "token_f1", "key_facts", "quality")
HITS, ANSWERS = 2, 3  # how many of them read the ranking, how many the answer


def evaluated(world: World, config: RagConfig, stages: SqliteStageStore | None, *, replay_only: bool = False) -> EvalReport:
    places = HarnessSettings()
    golden = load_golden(places.datasets, "tiny/v1")
    factory = PipelineFactory(places, load_corpus(places.datasets / "corpora" / "tiny"), PromptLibrary(places.prompts), stage_store=stages)
    factory.replay_only = replay_only
    evaluator = Evaluator(METRICS, tools=Tools(places), stage_store=stages)
    return asyncio.run(factory.evaluate(config, golden.tune(), evaluator))


def scores(report: EvalReport) -> list[tuple[object, ...]]:
    return [(row.case.id, row.scores, row.trace and (row.trace.hits, row.trace.answer)) for row in report.rows]


def test_a_second_evaluation_computes_nothing_and_finds_the_same(world: World) -> None:
    config = load_config(world.root / "tiny.yaml")
    plain = evaluated(world, config, None)
    first = evaluated(world, config, SqliteStageStore(world.root / "kept"))
    again = SqliteStageStore(world.root / "kept")
    second = evaluated(world, config, again)

    assert scores(plain) == scores(first) == scores(second)
    count = len(plain.rows)
    asked = sum(bool(row.trace and row.trace.hits) for row in plain.rows)
    assert sum(again.counts.misses.values()) == 0
    assert again.counts.hits["retrieve"] == count
    assert again.counts.hits["answer"] == asked
    assert again.counts.hits["score"] == count * (HITS + ANSWERS)


def test_a_new_prompt_computes_only_answers_and_the_metrics_that_read_them(world: World) -> None:
    config = load_config(world.root / "tiny.yaml")
    before = evaluated(world, config, SqliteStageStore(world.root / "kept"))
    stages = SqliteStageStore(world.root / "kept")
    changed = evaluated(world, config.replace({"answer.prompt.version": 1}), stages)

    count = len(before.rows)
    assert stages.counts.misses["retrieve"] == 0
    assert stages.counts.hits["retrieve"] == count
    assert stages.counts.misses["answer"] == sum(bool(row.trace and row.trace.hits) for row in changed.rows)
    assert stages.counts.hits["answer"] == 0
    assert stages.counts.hits["score"] == count * HITS
    assert stages.counts.misses["score"] == count * ANSWERS
    assert stages.counts.misses["embed"] == 0


def test_other_retrieval_settings_are_searched_anew_but_embed_nothing(world: World) -> None:
    config = load_config(world.root / "tiny.yaml")
    evaluated(world, config, SqliteStageStore(world.root / "kept"))
    stages = SqliteStageStore(world.root / "kept")
    report = evaluated(world, config.replace({"retrieve.top_k": 1}), stages)
    assert stages.counts.misses["retrieve"] == len(report.rows)
    assert stages.counts.misses["embed"] == 0


def test_other_weights_and_lengths_reuse_both_searches(world: World) -> None:
    config = load_config(world.root / "tiny.yaml")
    evaluated(world, config, SqliteStageStore(world.root / "kept"))
    stages = SqliteStageStore(world.root / "kept")
    changed = config.replace({"retrieve.fusion.weight": 0.1, "retrieve.top_k": 4, "retrieve.candidates": 20})
    report = evaluated(world, changed, stages)
    assert stages.counts.misses["search"] == 0
    assert stages.counts.hits["search"] == 2 * len(report.rows)
    assert scores(report) == scores(evaluated(world, changed, None))


def test_changing_only_top_k_changes_the_hits_and_no_score_of_the_ranking(world: World) -> None:
    config = load_config(world.root / "tiny.yaml").replace({"retrieve.duplicate_similarity": 1.0})
    short, long = (evaluated(world, config.replace({"retrieve.top_k": top_k}), None) for top_k in (1, 4))
    for report, top_k in ((short, 1), (long, 4)):
        assert {len(row.trace.hits) for row in report.rows if row.trace} == {top_k}
    for name in ("recall@5", "mrr@10"):
        assert [row.value(name) for row in short.rows] == [row.value(name) for row in long.rows]
    assert short.mean("recall@5") == 1.0  # also of questions whose evidence was not handed on


def test_an_evaluation_finds_the_hits_that_are_served(world: World) -> None:
    config = load_config(world.root / "tiny.yaml")
    places = HarnessSettings()
    factory = PipelineFactory(places, load_corpus(places.datasets / "corpora" / "tiny"), PromptLibrary(places.prompts))
    query = load_golden(places.datasets, "tiny/v1").cases[0].query

    async def found(ranked: int) -> Trace:
        return await (await factory.pipeline(config, ranked)).answer(query)

    served, evaluated_trace = asyncio.run(found(0)), asyncio.run(found(50))
    assert served.hits == evaluated_trace.hits and served.ranking == ()
    assert evaluated_trace.ranking[: len(served.hits)] == tuple(hit.chunk.span for hit in served.hits)
    assert len(evaluated_trace.ranking) > len(served.hits)


def test_a_time_is_measured_where_nothing_is_kept_and_not_where_a_part_is(world: World) -> None:
    config = load_config(world.root / "tiny.yaml")
    stages = SqliteStageStore(world.root / "kept")
    first = evaluated(world, config, stages)
    assert first.kept == 0 and first.times["total"]
    assert evaluated(world, config, stages).times.get("total") is None
    longer = evaluated(world, config.replace({"retrieve.top_k": 4}), stages)  # its searches are kept
    assert longer.kept == len(longer.rows) and "retrieve" not in longer.times


def test_kept_from_before_is_what_an_earlier_run_kept(world: World) -> None:
    config = load_config(world.root / "tiny.yaml")
    stages = SqliteStageStore(world.root / "kept")
    evaluated(world, config, stages)
    count = len(evaluated(world, config, stages).rows)
    assert stages.counts.hits["retrieve"] == count
    assert reused_share({"retrieve": stages.counts.as_dict()["retrieve"]}) == ReusedShare(0, count)  # computed here, and met again
    later = SqliteStageStore(world.root / "kept")
    evaluated(world, config, later)
    assert reused_share({"retrieve": later.counts.as_dict()["retrieve"]}) == ReusedShare(count, count)
    assert f"retrieve {count}/{count}" in later.counts.summary()


def test_a_store_of_an_earlier_version_is_read_and_written_on(tmp_path: Path) -> None:
    old = sqlite3.connect(tmp_path / "stages.db")
    old.execute(
        "CREATE TABLE kept (stage TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, used_day INTEGER NOT NULL, "
        "PRIMARY KEY (stage, key)) WITHOUT ROWID"
    )
    old.execute("INSERT INTO kept VALUES ('answer', 'k', x'31', 1)")
    old.commit()
    old.close()
    stages = SqliteStageStore(tmp_path)
    assert stages.get("answer", "k") == b"1" and stages.counts.again["answer"] == 0
    stages.put("answer", "new", b"2")
    assert stages.get("answer", "new") == b"2" and stages.counts.again["answer"] == 1


async def test_a_look_at_everything_is_never_kept_for_those_who_may_see_less(tmp_path: Path) -> None:
    places = PipelineSettings(home=tmp_path, _env_file=None)
    store = STORES.build(Spec(name="memory"), uri=str(tmp_path / "index"), dimensions=4, settings=places)
    await store.add([Chunk("b#0-5", "b", 0, 5, "bonus", groups=("board",))], ["bonus"], np.ones((1, 4), np.float32))
    await store.finish()
    stages = SqliteStageStore(tmp_path / "kept")
    searches = CachedSearches(store, stages, CachedChunks(stages), "index", exact=True)
    assert [hit.chunk.id for hit in await searches.search_text("bonus", 5, Filter(everything=True))] == ["b#0-5"]
    assert await searches.search_text("bonus", 5, Filter()) == []


def test_what_comes_from_the_store_took_as_long_as_when_it_was_computed(world: World) -> None:
    config = load_config(world.root / "tiny.yaml")
    stages = SqliteStageStore(world.root / "kept")
    evaluated(world, config, stages)
    report = evaluated(world, config, stages)
    trace = next(row.trace for row in report.rows if row.trace and row.trace.hits)
    kept = [stage.detail["kept_ms"] for stage in trace.stages if "kept_ms" in stage.detail]
    assert len(kept) == 2
    assert trace.milliseconds >= sum(kept)
    for stage in trace.stages:
        assert stage.milliseconds >= stage.detail.get("kept_ms", 0.0)


def test_a_forgotten_chunk_makes_the_search_run_again(world: World) -> None:
    config = load_config(world.root / "tiny.yaml")
    first = evaluated(world, config, SqliteStageStore(world.root / "kept"))
    SqliteStageStore(world.root / "kept").remove(stage="chunk")
    assert scores(evaluated(world, config, SqliteStageStore(world.root / "kept"))) == scores(first)


def test_a_score_is_kept_for_the_title_and_heading_that_a_passage_had(tmp_path: Path) -> None:
    def kept(trace: Trace) -> CachedScores:
        return CachedScores.of(stages, trace, a_case(), [metric("key_facts")])

    stages, trace = SqliteStageStore(tmp_path), a_trace(a_hit(0, 50), answer="30 days")
    kept(trace).store_all([Score("key_facts", 1.0)])
    assert kept(trace).find() == {"key_facts": Score("key_facts", 1.0)}
    hit = replace(trace.hits[0], chunk=replace(trace.hits[0].chunk, title="Leave in 2019"))  # groundedness reads it
    assert kept(replace(trace, passages=(hit,))).find() == {}


def test_while_answers_are_recorded_nothing_is_answered_from_the_store(tmp_path: Path) -> None:
    recording = HarnessSettings(home=tmp_path, cassette=tmp_path / "tape", cassette_mode="record")
    assert open_stage_store(recording) is None
    assert configured_stage_store(recording).sizes() == []
    assert open_stage_store(HarnessSettings(home=tmp_path)) is not None


def test_replay_only_names_the_mend_when_a_hosted_answer_is_not_kept(world: World) -> None:
    config = load_config(world.root / "tiny.yaml").replace({"answer.models.lite.name": "bedrock_converse:amazon.nova-lite-v1:0"})
    with pytest.raises(DataError, match="Run once without --replay-only"):
        evaluated(world, config, SqliteStageStore(world.root / "kept"), replay_only=True)


def test_the_first_value_of_a_key_stays(tmp_path: Path) -> None:
    stages = SqliteStageStore(tmp_path)
    stages.put("answer", "k", b"one")
    stages.put("answer", "k", b"two")
    assert stages.get("answer", "k") == b"one"
    assert stages.get("score", "k") is None


def test_what_threads_count_is_taken_once_and_whole() -> None:
    counts, taken = HitCounts(), 0
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as threads:
            adding = [threads.submit(lambda: [counts.add(f"s{number % 50}", 1, 1) for number in range(5_000)]) for _ in range(4)]
            while not all(one.done() for one in adding):
                taken += sum(numbers["hits"] + numbers["misses"] for numbers in counts.take().values())
    finally:
        sys.setswitchinterval(before)
    assert taken + sum(numbers["hits"] + numbers["misses"] for numbers in counts.take().values()) == 2 * 4 * 5_000


def test_many_keys_are_found_in_one_call(tmp_path: Path) -> None:
    stages = SqliteStageStore(tmp_path)
    values = {f"k{number}": str(number).encode() for number in range(1700)}
    stages.put_many("embed", values)
    assert stages.get_many("embed", [*values, "missing", "k1"]) == values
    assert (stages.counts.hits["embed"], stages.counts.misses["embed"]) == (1700, 1)


def test_what_was_not_used_for_long_can_be_removed(tmp_path: Path) -> None:
    day = 100
    stages = SqliteStageStore(tmp_path, lambda: day)
    stages.put_many("answer", {"old": b"x", "used": b"yy"})
    day = 110
    assert stages.get("answer", "used") == b"yy"
    stages.put("score", "new", b"z")
    assert {(one.stage, one.entries, one.bytes, one.oldest_days) for one in stages.sizes()} == {("answer", 2, 3, 10), ("score", 1, 1, 0)}
    assert stages.remove(unused_days=5) == 1
    assert stages.get_many("answer", ["old", "used"]) == {"used": b"yy"}


def test_a_damaged_file_says_that_it_may_be_removed(tmp_path: Path) -> None:
    (tmp_path / "stages.db").write_bytes(b"this is no database, but long enough to be looked at" * 100)
    with pytest.raises(StoreError, match=r"stages\.db failed: .*remove it"):
        SqliteStageStore(tmp_path)


def test_a_full_disk_is_told_as_one_and_keeps_nothing_by_halves(tmp_path: Path) -> None:
    stages = SqliteStageStore(tmp_path)
    stages.put("answer", "before", b"x")
    stages._connection.execute("PRAGMA max_page_count=20")  # SQLite's own way to a disk of 160 KB
    values = {f"k{number}": b"x" * 5000 for number in range(100)}
    with pytest.raises(StoreError, match="disk is full"):
        stages.put_many("answer", values)
    assert stages.get_many("answer", ["before", *values]) == {"before": b"x"}


def test_a_new_file_that_another_process_is_just_making_is_waited_for(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "stages.db", isolation_level=None, check_same_thread=False)
    other.execute("CREATE TABLE other (x)")
    other.execute("BEGIN IMMEDIATE")
    end = threading.Timer(0.2, lambda: other.execute("COMMIT"))
    end.start()
    SqliteStageStore(tmp_path).put("answer", "k", b"v")
    end.join()
    other.close()


@pytest.mark.parametrize("way", ["get_many", "put_many"])
@pytest.mark.parametrize("stage", ["embed", "search", "chunk", "retrieve", "answer", "score"])
def test_a_store_that_fails_is_an_outage_wherever_it_is_asked(world: World, monkeypatch: pytest.MonkeyPatch, stage: str, way: str) -> None:
    whole = getattr(SqliteStageStore, way)

    def failing(self: SqliteStageStore, asked: str, *arguments: Any) -> Any:
        if asked == stage:
            raise StoreError("the disk is full")
        return whole(self, asked, *arguments)

    if (stage, way) == ("chunk", "get_many"):  # only what was found before is asked for
        evaluated(world, load_config(world.root / "tiny.yaml"), open_stage_store(HarnessSettings()))  # type: ignore[arg-type]
    monkeypatch.setattr(SqliteStageStore, way, failing)  # no disk can be made to fail at one stage only
    said = world.touchstone("eval", "-c", "tiny.yaml", "-g", "tiny/v1", "--no-tracking", "--metric", "quality")
    assert said.code == 3, said.out
    assert "the disk is full" in said.err


def test_data_survives_packing_whatever_it_holds() -> None:
    value = {"text": "ö\ud800\0\u2028", "numbers": [1.1, None, True], "empty": {}}
    assert unpack(pack(value)) == value
    assert key_of("a", ["b"]) != key_of("a", "b")
    assert key_of({"a": 1, "b": 2}) == key_of({"b": 2, "a": 1})


class Counting(Embeddings):
    def __init__(self) -> None:
        self.seen: list[str] = []

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.seen += texts
        return [[float(len(text)), 1.0] for text in texts]

    def embed_query(self, text: str) -> list[float]:
        self.seen.append(text)
        return [1.0, float(len(text))]


def test_a_question_in_another_precision_is_stored_apart(tmp_path: Path) -> None:
    class Quick(HashingEmbeddings):
        def token_vectors(self, text: str) -> Any:
            return self.vectors(text.split())

        def at_precision(self, precision: str) -> HashingEmbeddings:
            return HashingEmbeddings(3)

    stages = SqliteStageStore(tmp_path)
    embeddings = CachedTokenEmbeddings("m|1|", lambda: Quick(5), stages)
    for _ in range(2):
        assert len(embeddings.embed_query("a")) == 5
        assert len(embeddings.at_precision("int8").embed_query("a")) == 3
    plain = CachedTokenEmbeddings("n|1|", lambda: HashingEmbeddings(5), stages)
    with pytest.raises(ConfigError, match="has one precision only"):
        plain.at_precision("int8")


def test_a_text_is_embedded_once_whatever_order_it_comes_in(tmp_path: Path) -> None:
    model = Counting()
    embeddings = CachedEmbeddings("m|1|", lambda: model, SqliteStageStore(tmp_path))
    first = embeddings.vectors(["a", "bb", "a"])
    second = embeddings.vectors(["ccc", "a", "bb"])
    assert model.seen == ["a", "bb", "ccc"]
    assert np.array_equal(first[1], second[2])
    assert np.array_equal(first[0], first[2])
    assert embeddings.embed_query("bb") != first[1].tolist()  # some models embed questions in another way
    assert CachedEmbeddings("m|2|", lambda: model, SqliteStageStore(tmp_path)).vectors(["a"]).shape == (1, 2)
    assert model.seen == ["a", "bb", "ccc", "bb", "a"]


def _write_many(folder: str, own: int) -> None:
    stages = SqliteStageStore(Path(folder))
    for number in range(50):
        stages.put_many("score", {f"shared{number}": b"same", f"{own}-{number}": str(own).encode()})


@pytest.mark.slow
def test_several_processes_write_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_many, args=(str(tmp_path), own)) for own in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert [(one.entries) for one in SqliteStageStore(tmp_path).sizes()] == [50 + 3 * 50]


WRITER = """
import os, sys
from pathlib import Path
from harness.stage_store.sqlite import SqliteStageStore
stages = SqliteStageStore(Path(sys.argv[1]))
number, parent = 0, os.getppid()
while os.getppid() == parent:  # and not for ever, where the tests are killed
    stages.put_many("answer", {f"{number}-a": b"x" * 2000, f"{number}-b": b"x" * 2000})
    number += 1
"""


def test_a_writer_killed_at_any_moment_leaves_whole_entries(tmp_path: Path) -> None:
    for _ in range(3):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)])
        database = tmp_path / "stages.db"
        while not database.exists() or not _written(database):
            assert writer.poll() is None, "the writer ended by itself"
            time.sleep(0.02)
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        with closing(sqlite3.connect(database)) as base:
            assert base.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            assert base.execute("SELECT COUNT(*) % 2, MIN(LENGTH(value)) FROM kept").fetchone() == (0, 2000)
        SqliteStageStore(tmp_path).remove()


def _written(database: Path) -> bool:
    try:
        with closing(sqlite3.connect(database)) as base:
            return bool(base.execute("SELECT COUNT(*) FROM kept").fetchone()[0] > 20)
    except sqlite3.OperationalError:
        return False
