import asyncio
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from serving.app.release.loaded import verify_index
from serving.app.release.probe import StoreProbe
from serving.app.settings import AppSettings
from serving.pipeline.digest import sha256_file
from serving.pipeline.errors import IntegrityError
from serving.pipeline.index.build import open_index
from serving.pipeline.index.manifest import read_manifest, write_manifest
from serving.release.bundle import load_release
from tests.app.making import House, Open, config, manifest_of, opened


async def readiness(api: Open) -> tuple[int, dict[str, object]]:
    """The state as anybody is told it, with the whole reason, which the owner of a key is told."""
    response = await api.client.get("/readyz")
    return response.status_code, {**response.json(), "reason": api.release_manager.readiness.reason}


async def test_it_is_ready_when_what_is_loaded_hashes_to_what_is_promoted(furnished: House) -> None:
    async with opened(furnished.settings()) as api:
        status, body = await readiness(api)
        release = load_release(furnished.storage, str(body["promoted"]))
    assert status == 200
    assert body["ready"] is body["current"] is True
    assert body["loaded"] == body["promoted"] == release.digest
    assert body["index"] == release.index.recipe
    assert body["reason"] == ""


async def test_without_a_release_it_is_alive_and_says_what_to_do_and_takes_the_release_up_when_it_comes(tmp_path: Path) -> None:
    house = House(tmp_path)
    async with opened(house.settings()) as api:
        assert (await api.client.get("/livez")).status_code == 200
        status, body = await readiness(api)
        assert status == 503
        assert "touchstone promote --channel dev" in str(body["reason"])
        refused = await api.ask()
        assert refused.status_code == 503
        assert "Retry-After" in refused.headers
        assert refused.json()["type"] == "urn:touchstone:problem:not-ready"

        await house.release(config())
        await api.release_manager.refresh()
        assert (await readiness(api))[0] == 200
        assert (await api.ask()).status_code == 200


async def test_version_says_which_code_runs_and_what_it_serves(furnished: House) -> None:
    async with opened(furnished.settings(version="1.2.3", commit="0123abc")) as api:
        said = (await api.client.get("/version")).json()
        _, ready = await readiness(api)
    assert said == {
        "version": "1.2.3",
        "commit": "0123abc",
        "channel": "dev",
        "release": ready["loaded"],
        "index": ready["index"],
    }


async def test_without_its_index_it_is_alive_and_not_ready_and_says_so(house: House) -> None:
    shutil.rmtree(house.root / "home" / "indexes")
    async with opened(house.settings()) as api:
        assert (await api.client.get("/livez")).status_code == 200
        status, body = await readiness(api)
    assert status == 503
    assert "No index in" in str(body["reason"])
    assert body["loaded"] == ""


def _tamper_prompt(folder: Path) -> Path:
    path = folder / "prompts" / "answer" / "general" / "v3.md"
    path.write_text(path.read_text().replace("in at most four sentences", "in at most five sentences", 1))
    return path


def _tamper_config(folder: Path) -> Path:
    path = folder / "config.yaml"
    data = yaml.safe_load(path.read_text())
    data["retrieve"]["top_k"] += 1
    path.write_text(yaml.safe_dump(data))
    return path


@pytest.mark.parametrize("tamper", [_tamper_prompt, _tamper_config])
@pytest.mark.parametrize("sums_too", [False, True])
async def test_a_tampered_release_is_never_ready_and_the_reason_is_named(house: House, tamper, sums_too: bool) -> None:
    [folder] = [path.parent for path in house.releases.glob("*/SHA256SUMS")]
    path = tamper(folder)
    if sums_too:
        sums = folder / "SHA256SUMS"
        name = path.relative_to(folder).as_posix()
        lines = [f"{sha256_file(path)}  {name}" if line.endswith(f"  {name}") else line for line in sums.read_text().splitlines()]
        sums.write_text("\n".join(lines) + "\n")
    async with opened(house.settings()) as api:
        await api.release_manager.refresh()
        status, body = await readiness(api)
    assert status == 503
    assert body["loaded"] == ""
    assert ("hashes to" if sums_too else f"{path} is not what SHA256SUMS says") in str(body["reason"])


async def test_an_index_with_other_contents_than_the_proven_one_is_not_served(house: House) -> None:
    [digest] = [path.parent.name for path in house.releases.glob("*/SHA256SUMS")]
    release = load_release(house.storage, digest)
    index = await open_index(release.config, release.index.corpus_digest, settings=house.places)
    verify_index(release, index)
    for fact in ("recipe", "corpus_digest", "embedder_version", "dimensions", "documents", "chunks"):
        value = getattr(index.manifest, fact)
        other = value + 1 if isinstance(value, int) else f"{value}x"
        with pytest.raises(IntegrityError, match="index"):
            verify_index(release, replace(index, manifest=index.manifest.model_copy(update={fact: other})))


async def test_a_release_is_not_served_from_an_index_that_says_other_things_of_itself(house: House) -> None:
    [path] = (house.root / "home" / "indexes").glob("*/index.json")
    place = str(path.parent)
    manifest = read_manifest(place, house.settings())
    assert manifest
    write_manifest(place, manifest.model_copy(update={"documents": 4}), house.settings())
    async with opened(house.settings()) as api:
        status, body = await readiness(api)
    assert status == 503
    assert "documents 5; the one here has 4" in str(body["reason"])


async def test_a_truncated_index_is_not_served(house: House) -> None:
    [digest] = [path.parent.name for path in house.releases.glob("*/SHA256SUMS")]
    [path] = (house.root / "home" / "indexes").glob("*/index.json")
    manifest = manifest_of(house, digest)
    write_manifest(str(path.parent), manifest.model_copy(update={"chunks": manifest.chunks + 1}), house.settings())
    async with opened(house.settings()) as api:
        status, body = await readiness(api)
    assert status == 503
    assert "chunks where its manifest says" in str(body["reason"])


async def test_an_index_with_a_changed_byte_is_not_served(house: House) -> None:
    largest = max((house.root / "home" / "indexes").rglob("*.lance"), key=lambda path: path.stat().st_size if path.is_file() else 0)
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 1
    largest.write_bytes(data)
    async with opened(house.settings()) as api:
        status, body = await readiness(api)
    assert status == 503
    assert "is not what was written. Remove it and run: touchstone index" in str(body["reason"])


async def test_a_crash_while_loading_becomes_a_reason_and_the_process_lives(furnished: House) -> None:
    async def crash(settings: AppSettings, digest: str, before: object = None, *, evidence: str | None = None) -> None:
        raise RuntimeError("token=hunter2")

    async with opened(furnished.settings(), load=crash) as api:  # type: ignore[arg-type]
        status, body = await readiness(api)
        assert (await api.client.get("/livez")).status_code == 200
    assert status == 503
    assert "RuntimeError" in str(body["reason"])
    assert "hunter2" not in str(body["reason"])


async def test_a_release_that_cannot_answer_its_first_question_in_time_is_not_ready(furnished: House) -> None:
    async def crash(settings: AppSettings, digest: str, before: object = None, *, evidence: str | None = None) -> None:
        raise TimeoutError

    async with opened(furnished.settings(request_timeout_s=7), load=crash) as api:  # type: ignore[arg-type]
        status, body = await readiness(api)
    assert status == 503
    assert "more than 7 s" in str(body["reason"])


async def test_an_index_that_went_away_is_noticed_and_so_is_its_return(house: House) -> None:
    indexes, away = house.root / "home" / "indexes", house.root / "away"
    async with opened(house.settings()) as api:
        api.release_manager._probe = StoreProbe(fresh_s=0)
        assert (await readiness(api))[0] == 200
        indexes.rename(away)
        gone = await api.client.get("/readyz")
        answered = await api.ask()
        ready = await api.metric("touchstone_ready ")
        away.rename(indexes)
        back = await api.client.get("/readyz")
        told = [line["event"] for line in api.log if line["event"].startswith("index")]
    assert (gone.status_code, gone.json()["state"], gone.json()["current"]) == (503, "index-unreadable", False)
    assert str(house.root) not in gone.text
    assert answered.status_code == 200  # what is mapped into memory answers on, until the process ends
    assert ready == ["touchstone_ready 0.0"]
    assert (back.status_code, back.json()["state"]) == (200, "current")
    assert told == ["index unreadable", "index readable again"]


async def test_a_store_that_is_silent_is_asked_once_for_all_who_want_to_know(furnished: House, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0

    async def silence(pipeline: object) -> None:
        nonlocal asked
        asked += 1
        await asyncio.Event().wait()

    monkeypatch.setattr("serving.app.release.probe.probe", silence)  # stands for a store that hangs
    async with opened(furnished.settings()) as api:
        api.release_manager._probe = StoreProbe(timeout_s=0.05, fresh_s=60)
        answers = await asyncio.gather(*(api.client.get("/readyz") for _ in range(20)))
    assert {answer.status_code for answer in answers} == {503}
    assert asked == 1


async def test_while_the_channel_cannot_be_read_nobody_says_that_its_release_is_current(house: House) -> None:
    async with opened(house.settings()) as api:
        (house.releases / "channels" / "dev.json").write_text("{")
        await api.release_manager.refresh()
        response = await api.client.get("/readyz")
        current = await api.metric("touchstone_release_current ")
    body = response.json()
    assert response.status_code == 200  # the proven one still answers
    assert (body["ready"], body["current"], body["promoted"], body["state"]) == (True, False, "", "damaged")
    assert body["reason"]
    assert str(house.root) not in response.text
    assert current == ["touchstone_release_current 0.0"]
