import asyncio
import gc
import io
import shutil
import weakref

from serving.app.core.telemetry import make_logger
from serving.app.release.loaded import LoadedRelease, load
from serving.app.release.manager import ReleaseManager
from serving.app.server.garbage import settle_memory
from serving.app.settings import AppSettings
from serving.pipeline.answer.answerer import Emit
from serving.pipeline.digest import sha256_file
from serving.pipeline.types import Query
from serving.release.channel import read_channel
from tests.app.making import SAYS, House, config, interrupted, opened
from tests.support.releasing import at, point
from tests.support.waiting import WITHIN_S


async def test_a_new_release_is_swapped_in_and_a_query_under_way_ends_on_the_old_one(house: House) -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    async def hold(query: Query, emit: Emit | None) -> None:
        if query.text == "Wait":
            begun.set()
            await go.wait()

    async with opened(house.settings(), load=interrupted(hold)) as api:
        old = api.release_manager.readiness.promoted
        under_way = asyncio.create_task(api.ask("Wait"))
        await begun.wait()
        new = await house.release(config("The new one says so [1]."))
        await api.release_manager.refresh()
        fresh = (await api.ask()).json()
        go.set()
        ended = await under_way
        assert api.release_manager.readiness.current
    assert old != new
    assert (fresh["release"], fresh["answer"]) == (new, "The new one says so [1].")
    assert ended.status_code == 200
    assert (ended.json()["release"], ended.json()["answer"]) == (old, SAYS)


async def test_questions_asked_while_a_release_loads_are_answered_by_the_old_one(house: House) -> None:
    loading, go = asyncio.Event(), asyncio.Event()

    async def slow(
        settings: AppSettings, digest: str, before: LoadedRelease | None = None, *, evidence: str | None = None
    ) -> LoadedRelease:
        if before is not None:
            loading.set()
            await go.wait()
        return await load(settings, digest, before, evidence=evidence)

    async with opened(house.settings(), load=slow) as api:
        old = api.release_manager.readiness.promoted
        new = await house.release(config("New [1]."))
        look = asyncio.create_task(api.release_manager.refresh())
        await loading.wait()
        answers = [(await api.ask()) for _ in range(3)]
        assert (await api.client.get("/readyz")).status_code == 200
        go.set()
        await look
        after = (await api.ask()).json()
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.json()["release"] for answer in answers} == {old}
    assert after["release"] == new


async def test_a_release_that_cannot_be_loaded_does_not_take_the_proven_one_out_of_service(house: House) -> None:
    async with opened(house.settings()) as api:
        old = api.release_manager.readiness.promoted
        new = await house.release(config("New [1]."))
        (house.releases / new / "config.yaml").write_text("{}")
        await api.release_manager.refresh()
        ready = await api.client.get("/readyz")
        answer = await api.ask()
        current = await api.metric("touchstone_release_current ")
    assert ready.status_code == 200
    assert ready.json() == ready.json() | {"ready": True, "current": False, "promoted": new, "loaded": old}
    assert "SHA256SUMS" in api.release_manager.readiness.reason
    assert answer.json()["release"] == old
    assert current == ["touchstone_release_current 0.0"]


async def test_going_back_to_the_release_before_needs_nothing_from_the_disk(house: House) -> None:
    async with opened(house.settings()) as api:
        old = api.release_manager.readiness.promoted
        await house.release(config("New [1]."))
        await api.release_manager.refresh()
        point(house.storage, "dev", old)
        shutil.rmtree(house.root / "home")
        await api.release_manager.refresh()
        state = api.release_manager.readiness
    assert (state.loaded, state.current) == (old, True)


async def test_the_embedding_model_is_shared_by_releases_that_use_the_same(house: House) -> None:
    async with opened(house.settings()) as api:
        assert api.release_manager.serving is not None
        before = api.release_manager.serving.pipeline.index.embeddings
        await house.release(config("New [1]."))
        await api.release_manager.refresh()
        assert api.release_manager.serving.pipeline.index.embeddings is before
        await house.release(config("New [1].", **{"index.embedder.dimensions": 128}))
        await api.release_manager.refresh()
        assert api.release_manager.readiness.current
        assert api.release_manager.serving.pipeline.index.embeddings is not before


async def test_the_channel_is_looked_at_at_the_interval_and_one_trouble_is_logged_once(house: House) -> None:
    (house.releases / "channels" / "dev.json").unlink()
    naps: list[float] = []
    rested = asyncio.Event()

    async def nap(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 4:
            rested.set()
            await asyncio.Event().wait()

    async with opened(house.settings(poll_s=3), sleep=nap) as api:
        await asyncio.wait_for(rested.wait(), WITHIN_S)
        warnings = [line for line in api.log if line["level"] == "warning"]
    assert naps == [3, 3, 3, 3]
    assert len(warnings) == 1


async def test_other_evidence_for_the_release_being_served_is_verified_and_taken_up(house: House) -> None:
    async with opened(house.settings()) as api:
        serving = api.release_manager.serving
        assert serving is not None
        pointed = point(house.storage, "dev", serving.digest)
        assert pointed.evidence != serving.evidence
        await api.release_manager.refresh()
        assert api.release_manager.serving is not None
        assert api.release_manager.serving.evidence == pointed.evidence
        assert api.release_manager.serving.pipeline is serving.pipeline


async def test_evidence_that_was_rewritten_is_not_served(house: House) -> None:
    [path] = house.releases.glob("*/evidence/*.json")
    path.write_text(path.read_text().replace("2026-11-01", "2026-11-02"))
    async with opened(house.settings()) as api:
        ready = await api.client.get("/readyz")
    assert ready.status_code == 503
    assert f"{path.name} is not the evidence that its name promises" in api.release_manager.readiness.reason


async def test_evidence_that_was_rewritten_and_renamed_is_not_what_the_channel_names(house: House) -> None:
    [path] = house.releases.glob("*/evidence/*.json")
    path.write_text(path.read_text().replace("2026-11-01", "2026-11-02"))
    path.rename(path.with_name(f"{sha256_file(path)[:16]}.json"))
    async with opened(house.settings()) as api:
        ready = await api.client.get("/readyz")
    assert ready.status_code == 503
    assert f"No evidence '{path.stem}' in" in api.release_manager.readiness.reason


async def test_a_release_in_a_bucket_is_served(house: House, s3_bucket: str) -> None:
    place = f"s3://{s3_bucket}/releases"
    digest = read_channel(house.storage, "dev").stable
    for path in house.releases.glob("*/**/*"):
        if path.is_file():
            at(place).put(path.relative_to(house.releases).as_posix(), path.read_bytes())
    async with opened(house.settings().model_copy(update={"releases": place})) as api:
        state = api.release_manager.readiness
    assert (state.loaded, state.current) == (digest, True), state.reason


async def test_a_document_that_the_channel_had_before_is_no_way_back(house: House) -> None:
    path = house.releases / "channels" / "dev.json"
    before = path.read_text()
    async with opened(house.settings()) as api:
        await house.release(config("New [1]."))
        new = read_channel(house.storage, "dev").stable
        await api.release_manager.refresh()
        path.write_text(before)
        await api.release_manager.refresh()
        state = api.release_manager.readiness
    assert (state.loaded, state.ready) == (new, True)
    assert "is at revision 1 again after revision 2: an old document was put in its place" in state.reason


async def test_prod_does_not_serve_what_no_gate_has_passed(house: House) -> None:
    channels = house.releases / "channels"
    (channels / "prod.json").write_text((channels / "dev.json").read_text().replace('"dev"', '"prod"'))
    async with opened(house.settings(channel="prod")) as api:
        ready = await api.client.get("/readyz")
    assert ready.status_code == 503
    assert "Channel 'prod' serves what a gate has passed" in api.release_manager.readiness.reason


async def test_memory_is_settled_once_for_each_release(house: House) -> None:
    settings, settled = house.settings(), 0

    def settle() -> None:
        nonlocal settled
        settled += 1

    manager = ReleaseManager(settings, make_logger(settings, io.StringIO()), after_swap=settle)
    for _ in range(2):
        await manager.refresh()
    assert settled == 1
    await house.release(config("New [1]."))
    await manager.refresh()
    assert settled == 2


def test_settled_memory_is_out_of_the_collectors_sight_and_what_went_since_is_freed() -> None:
    class Node:
        def __init__(self) -> None:
            self.me = self

    node = Node()
    settle_memory()
    try:
        assert gc.get_freeze_count() > 0
        gone = weakref.ref(node)
        del node
        settle_memory()
        assert gone() is None  # an old release in a cycle does not stay for ever
    finally:
        gc.unfreeze()
