import asyncio
import shutil
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from serving.app.release.interleave import CANDIDATE, STABLE, credit, team_draft
from serving.app.release.trial import share_of
from serving.pipeline.answer.answerer import Emit
from serving.pipeline.errors import ModelError
from serving.pipeline.observer import Observer
from serving.pipeline.types import Answer, Chunk, Citation, Hit, Query, Trace, Turn, Usage
from serving.release.channel import Mode, read_channel
from serving.release.move import promote_candidate, set_candidate, withdraw_candidate
from tests.app.making import QUESTION, SAYS, House, config, interrupted, opened
from tests.support.making import a_trace
from tests.support.releasing import point, prove

NEW = "The candidate says so [1]."


async def try_beside(house: House, mode: Mode, weight: float, chosen: Any = None) -> str:
    """A second release, tried beside what dev points at."""
    digest = await house.release(chosen or config(NEW), channel=None)
    expected = read_channel(house.storage, "dev")
    set_candidate(
        house.storage, "dev", digest, evidence=prove(house.storage, digest), mode=mode, weight=weight, expected=expected, who="t", why="t"
    )
    return digest


@given(key=st.text(), weights=st.lists(st.floats(0.001, 1.0), min_size=2, max_size=2))
def test_who_has_met_a_candidate_meets_it_again_when_its_share_grows(key: str, weights: list[float]) -> None:
    small, large = sorted(weights)
    share = share_of(key, "release")
    assert 0.0 <= share < 1.0
    assert (share < small) <= (share < large)
    assert share_of(key, "release") == share


def test_the_share_of_keys_is_the_weight_and_another_candidate_meets_others() -> None:
    keys = [f"session-{n}" for n in range(4000)]
    met, others = ({key for key in keys if share_of(key, release) < 0.1} for release in ("a", "b"))
    assert 330 < len(met) < 470
    assert 15 < len(met & others) < 75


async def test_a_canary_answers_its_share_and_a_session_stays_with_one_release(house: House) -> None:
    async with opened(house.settings()) as api:
        old = api.release_manager.readiness.promoted
        new = await try_beside(house, "canary", 0.5)
        await api.release_manager.refresh()
        answers = {f"s{n}": [(await api.ask(session=f"s{n}")).json() for _ in range(2)] for n in range(12)}
        ready = (await api.client.get("/readyz")).json()
    assert {one["release"] for pair in answers.values() for one in pair} == {old, new}
    for first, second in answers.values():
        assert (first["release"], first["role"]) == (second["release"], second["role"])
        assert (first["role"], first["answer"]) == (("canary", NEW) if first["release"] == new else ("stable", SAYS))
    assert (ready["loaded"], ready["candidate"], ready["candidate_broken"], ready["ready"]) == (old, new, False, True)


async def test_a_blue_green_candidate_is_asked_nothing_and_takes_over_at_once(house: House) -> None:
    async with opened(house.settings()) as api:
        new = await try_beside(house, "blue-green", 1.0)
        await api.release_manager.refresh()
        before = [(await api.ask(session=f"s{n}")).json() for n in range(4)]
        shutil.rmtree(house.root / "home")  # nothing is read from the disk any more
        promote_candidate(house.storage, "dev", expected=read_channel(house.storage, "dev"), who="t", why="t")
        await api.release_manager.refresh()
        after = (await api.ask()).json()
        state = api.release_manager.readiness
    assert {one["answer"] for one in before} == {SAYS}
    assert (after["answer"], after["release"], after["role"]) == (NEW, new, "stable")
    assert (state.loaded, state.candidate) == (new, "")


async def test_a_broken_candidate_leaves_the_stable_release_serving_and_is_told_once(house: House) -> None:
    async with opened(house.settings()) as api:
        old = api.release_manager.readiness.promoted
        new = await try_beside(house, "canary", 1.0)
        (house.releases / new / "config.yaml").write_text("{}")
        for _ in range(3):
            await api.release_manager.refresh()
        answer, ready = (await api.ask()).json(), (await api.client.get("/readyz")).json()
        told = [line for line in api.log if line["event"] == "candidate not tried"]
        withdraw_candidate(house.storage, "dev", expected=read_channel(house.storage, "dev"), who="t", why="t")
        await api.release_manager.refresh()
        mended = api.release_manager.readiness
    assert (answer["release"], answer["role"]) == (old, "stable")
    assert (ready["ready"], ready["current"], ready["candidate_broken"], ready["candidate"]) == (True, True, True, "")
    assert [line["level"] for line in told] == ["error"]
    assert "SHA256SUMS" in told[0]["reason"]
    assert not mended.candidate_broken


class Seeing:
    """An observer that keeps the traces."""

    def __init__(self) -> None:
        self.traces: list[Trace] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *told: None

    def answered(self, trace: Trace) -> None:
        self.traces.append(trace)


async def test_a_shadow_answers_unseen_and_is_paired_with_the_answer_that_was_shown(house: House) -> None:
    seeing = Seeing()
    async with opened(house.settings()) as api:
        service = api.app.state.service
        api.app.state.service = replace(service, observers=seeing)
        await try_beside(house, "shadow", 1.0)
        await api.release_manager.refresh()
        shown = (await api.ask()).json()
        await asyncio.gather(*service.shadows._tasks)
        first, second = seeing.traces
        candidate, query = api.release_manager.candidate, Query(QUESTION)
        assert not service.shadows.offer(candidate, replace(query, history=(Turn("before"),)), first, "k", seeing)  # no first turn
        service.shadows._most = 0
        assert not service.shadows.offer(candidate, query, first, "k", seeing)
        assert service.shadows.left_out == 1
    assert (shown["answer"], shown["role"]) == (SAYS, "stable")
    assert (first.role, first.pair, second.role, second.pair) == ("stable", "", "shadow", first.id)
    assert (second.answer.text, shown["trace_id"]) == (NEW, first.id)
    assert (first.disagreement, second.disagreement) == (None, "")  # they cite the same document
    assert first.draw == second.draw
    assert first.draw
    assert (first.draw.candidate, first.draw.mode, first.draw.weight) == (second.release_digest, "shadow", 1.0)


class Failing:
    """A pipeline that fails as a real one does."""

    config_digest = "failing"

    async def answer(self, query: Query, *, observer: Observer) -> Trace:
        error = ModelError("no model answers")
        observer.failed(query, error)
        raise error


async def test_a_shadow_is_no_question_of_anybody_s_and_its_failure_fails_none(house: House) -> None:
    async with opened(house.settings()) as api:
        service = api.app.state.service
        await try_beside(house, "shadow", 1.0)
        await api.release_manager.refresh()
        await api.ask()
        await asyncio.gather(*service.shadows._tasks)
        candidate = api.release_manager.candidate
        broken = replace(candidate, loaded=replace(candidate.loaded, pipeline=Failing()))
        service.shadows.offer(broken, Query(QUESTION), a_trace(answer="x"), "k", service.observers)
        await asyncio.gather(*service.shadows._tasks)
        pairs, queries, failed = [
            await api.metric(f"touchstone_{name}") for name in ("shadow_pairs_total", "query_seconds_count", "failed_q")
        ]
    assert pairs == [
        'touchstone_shadow_pairs_total{verdict="agreed"} 1.0',
        'touchstone_shadow_pairs_total{verdict="disagreed"} 0.0',
        'touchstone_shadow_pairs_total{verdict="failed"} 1.0',
    ]
    assert (queries, failed) == (["touchstone_query_seconds_count 1.0"], [])


async def test_interleaving_is_for_what_differs_in_retrieval_alone(house: House) -> None:
    async with opened(house.settings()) as api:
        await try_beside(house, "interleave", 1.0, config(**{"retrieve.search.name": "keyword"}))
        await api.release_manager.refresh()
        answer = (await api.ask()).json()
        withdraw_candidate(house.storage, "dev", expected=read_channel(house.storage, "dev"), who="t", why="t")
        await try_beside(house, "interleave", 1.0)  # another answer as well
        await api.release_manager.refresh()
        told = [line["reason"] for line in api.log if line["event"] == "candidate not tried"]
        state = api.release_manager.readiness
    assert (answer["role"], answer["answer"]) == ("interleave", SAYS)
    assert state.candidate_broken
    assert "differs in answer as well" in told[0]


def hits(*ids: str) -> list[Hit]:
    return [Hit(Chunk(ident, "d", 0, 1, "x"), 1.0 / rank, rank) for rank, ident in enumerate(ids, start=1)]


@given(
    st.lists(st.sampled_from("abcdef"), unique=True, max_size=6), st.lists(st.sampled_from("abcdef"), unique=True, max_size=6), st.text()
)
def test_a_team_draft_has_each_passage_once_and_no_team_is_ahead_by_more_than_a_turn(one: list[str], two: list[str], seed: str) -> None:
    drafted = team_draft(hits(*one), hits(*two), len(one), seed)
    ids = [hit.chunk.id for hit in drafted]
    assert len(set(ids)) == len(ids) <= len(one)
    assert [hit.rank for hit in drafted] == list(range(1, len(ids) + 1))
    teams = [STABLE if STABLE in hit.sources else CANDIDATE for hit in drafted]
    if not set(one) & set(two) and len(two) >= len(one):
        assert abs(teams.count(STABLE) - teams.count(CANDIDATE)) <= 1
    assert team_draft(hits(*one), hits(*two), len(one), seed) == drafted


def test_credit_goes_to_the_team_whose_passages_are_cited() -> None:
    drafted = team_draft(hits("a", "b"), hits("c", "d"), 2, "seed")
    cited = drafted[0]
    trace = Trace("t", Query("q"), "c", "i", passages=drafted, answer=Answer("x [1]", (Citation(1, cited.chunk.id, cited.chunk.span),)))
    team = STABLE if STABLE in cited.sources else CANDIDATE
    assert credit(trace) == {STABLE: 0, CANDIDATE: 0} | {team: 1}


async def test_a_candidate_that_is_promoted_by_newer_evidence_keeps_its_cache_open(house: House) -> None:
    closed: list[str] = []
    async with opened(house.settings(), load=interrupted(_nothing_before)) as api:
        promoted = await try_beside(house, "blue-green", 0.5)
        await api.release_manager.refresh()
        tried = api.release_manager.candidate
        assert tried is not None
        monitored = replace(tried.loaded, pipeline=_Closing(closed, promoted))
        api.release_manager.candidate = replace(tried, loaded=monitored)
        point(house.storage, "dev", promoted)  # by evidence of its own, not by the candidate's
        await api.release_manager.refresh()
        serving = api.release_manager.serving
        assert serving is not None
        assert (serving.pipeline, closed) == (monitored.pipeline, [])


class _Closing:
    """A pipeline that notes its end."""

    def __init__(self, closed: list[str], config_digest: str) -> None:
        self.closed = closed
        self.config_digest = config_digest

    async def aclose(self) -> None:
        self.closed.append(self.config_digest)


async def _nothing_before(query: Query, emit: Emit | None) -> None:
    pass


class FailingDearly:
    """A pipeline that fails after it has paid for calls."""

    config_digest = "failing"

    async def answer(self, query: Query, *, observer: Observer) -> Trace:
        error = ModelError("no model answers")
        observer.failed(query, error)
        observer.spent(query, Usage("m", usd=0.75))
        raise error


async def test_what_a_shadow_costs_that_fails_counts_against_its_hour(house: House) -> None:
    async with opened(house.settings(shadow_usd_per_hour=1.0)) as api:
        service = api.app.state.service
        await try_beside(house, "shadow", 1.0)
        await api.release_manager.refresh()
        candidate = api.release_manager.candidate
        dear = replace(candidate, loaded=replace(candidate.loaded, pipeline=FailingDearly()))
        offered = []
        for _ in range(3):
            offered.append(service.shadows.offer(dear, Query(QUESTION), a_trace(answer="x"), "k", service.observers))
            await asyncio.gather(*service.shadows._tasks)
    assert (offered, service.shadows.left_out) == ([True, True, False], 1)
