"""The cache behind the API and the command line, with a real Redis."""

import asyncio
import json
from pathlib import Path

import pytest

from harness.cli import run
from harness.project.cache import reviewed_questions
from harness.settings import HarnessSettings
from tests.app.core.test_metrics import numbers
from tests.app.making import QUESTION, House, config, opened
from tests.support.redis import RedisServer, a_secret

REVIEWED = [
    {"question": QUESTION, "variants": ["How much holiday do I get?", "What is my paid time off?"]},
    {"question": "Who is the king?", "domains": ["nothing"], "variants": ["Who reigns?"]},
]


@pytest.fixture(scope="module")
def cached_house(tmp_path_factory: pytest.TempPathFactory) -> House:
    house = House(tmp_path_factory.mktemp("house"))
    asyncio.run(house.release(config(**{"cache.lookup.name": "semantic"})))
    return house


@pytest.fixture
def shared(cached_house: House, shared_redis: RedisServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """The settings of a deployment, in the environment too."""
    chosen = {"redis": shared_redis.url, "cache_secret": a_secret()}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOUCHSTONE_HOME", str(cached_house.root / "home"))
    monkeypatch.setenv("TOUCHSTONE_RELEASES", str(cached_house.releases))
    for name, value in chosen.items():
        monkeypatch.setenv(f"TOUCHSTONE_{name.upper()}", value)
    return chosen


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    assert run(list(arguments)) == code
    captured = capsys.readouterr()
    return captured.err if code else captured.out


async def test_hits_misses_reach_and_audits_are_counted(cached_house: House) -> None:
    async with opened(cached_house.settings()) as api:
        answers = [(await api.ask(question)).json() for question in (QUESTION, QUESTION.upper(), QUESTION, QUESTION + " please")]
        found = await numbers(api)
        logged = [line["cache"] for line in api.log if "cache" in line]
    assert [answer["cache"] and answer["cache"]["kind"] for answer in answers] == [None, "semantic", "exact", "semantic"]
    assert logged == ["new", "semantic", "exact", "semantic"]
    assert found["touchstone_cache_hits_total", (("kind", "exact"),)] == 1
    assert found["touchstone_cache_hits_total", (("kind", "semantic"),)] == 2
    assert found["touchstone_cache_misses_total", (("reason", "new"),)] == 1
    assert found["touchstone_cache_reach", (("reach", "full"),)] == 1
    assert found["touchstone_cache_reach", (("reach", "off"),)] == 0
    assert found["touchstone_cache_audits_total", (("outcome", "disagreed"),)] == 0
    assert found["touchstone_cache_backend_errors_total", ()] == found["touchstone_cache_broken_entries_total", ()] == 0


def test_reviewed_wordings_are_warmed_counted_served_and_cleared(
    cached_house: House, shared: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "reviewed.jsonl").write_text("".join(json.dumps(line) + "\n" for line in REVIEWED))
    told = said(capsys, "cache", "warm", "reviewed.jsonl")
    assert "3 wordings of 2 questions are answered from the cache now" in told
    assert "left out: 'Who is the king?'; 'Who reigns?': the answer is a refusal" in told

    async def asks() -> list[str | None]:
        async with opened(cached_house.settings(**shared)) as api:
            answers = [(await api.ask(text)).json() for text in (QUESTION, *REVIEWED[0]["variants"])]
        return [answer["cache"] and answer["cache"]["kind"] for answer in answers]

    assert asyncio.run(asks()) == ["exact", "exact", "exact"]
    stats = json.loads(said(capsys, "cache", "stats", "--json"))
    assert sum(stats["entries"].values()) == 3
    assert stats["bytes"] > 0
    assert "0 answers forgotten" in said(capsys, "cache", "clear", "--document", "nothing.md")
    assert "no cache's reach was lowered" in said(capsys, "cache", "clear", "--reach")
    assert "3 answers forgotten" in said(capsys, "cache", "clear", "--document", "leave.md")
    assert said(capsys, "cache", "stats").startswith("0 answers, 0.0 MB")


def test_a_reviewed_question_may_hold_any_separator_of_lines_but_the_line_feed(tmp_path: Path) -> None:
    file = tmp_path / "reviewed.jsonl"
    file.write_text(json.dumps({"question": "One\u2028or two?", "variants": ["One\x85or two?"]}, ensure_ascii=False) + "\n")
    [read] = reviewed_questions(str(file), HarnessSettings(_env_file=None))
    assert (read.question, read.variants) == ("One\u2028or two?", ("One\x85or two?",))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{}", "reviewed.jsonl:1: question: field required"),
        ('{"question": "q", "variant": ["p"]}', "reviewed.jsonl:1: unknown key 'variant'. Did you mean 'variants'?"),
        ("", "reviewed.jsonl has no question. A line is"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_its_line(
    shared: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str, words: str
) -> None:
    (tmp_path / "reviewed.jsonl").write_text(line + "\n")
    assert words in said(capsys, "cache", "warm", "reviewed.jsonl", code=2)


def test_mistakes_at_the_command_line_are_one_line(
    shared: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert "the 16 hex digits of a digest" in said(capsys, "cache", "clear", "--release", "*", code=2)
    assert "leave --document out" in said(capsys, "cache", "clear", "--reach", "--document", "x", code=2)
    monkeypatch.setenv("TOUCHSTONE_REDIS", "redis://:hunter2@127.0.0.1:1")
    away = said(capsys, "cache", "stats", code=3)
    assert "redis://:***@127.0.0.1:1 does not answer" in away
    assert "hunter2" not in away
    assert "hunter2" not in said(capsys, "config", "settings")
    assert shared["cache_secret"] not in said(capsys, "config", "settings", "--json")
    monkeypatch.delenv("TOUCHSTONE_CACHE_SECRET")
    assert "all processes need one TOUCHSTONE_CACHE_SECRET" in said(capsys, "cache", "stats", code=2)
    monkeypatch.delenv("TOUCHSTONE_REDIS")
    (tmp_path / "reviewed.jsonl").write_text('{"question": "q"}\n')
    for arguments in (["stats"], ["clear"], ["warm", "reviewed.jsonl"]):
        assert "Each process caches answers in its own memory" in said(capsys, "cache", *arguments, code=2)
