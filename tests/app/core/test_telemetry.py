import io
import logging
from typing import Literal

import pytest

from serving.app.core.telemetry import caller_trace, make_logger, uvicorn_logging
from serving.app.server.repeats import RepeatedEvents
from serving.app.settings import AppSettings
from serving.pipeline.digest import digest_text
from tests.app.making import SAYS, House, opened

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


async def test_a_request_is_one_line_with_all_that_is_worth_telling_and_no_text(furnished: House) -> None:
    question = "What is the password of Zebedee?"
    async with opened(furnished.settings(log_level="debug")) as api:
        headers = {"X-Request-ID": "r-1", "traceparent": PARENT, "Authorization": "Bearer hunter2"}
        await api.client.post("/v1/query", json={"question": question}, headers=headers)
        [line] = [line for line in api.log if line["event"] == "request"]
        text = api.log_text
    assert line["request_id"] == "r-1"
    assert line["caller_trace_id"] == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert line["caller_span_id"] == "00f067aa0ba902b7"
    assert (line["method"], line["route"], line["status"]) == ("POST", "/v1/query", 200)
    assert (line["question_chars"], line["question_digest"]) == (len(question), digest_text(question))
    assert [stage for stage, _ in line["stage_ms"]] == ["guard", "cache", "retrieve", "guard", "route", "answer", "guard"]
    assert line["trace_id"]
    assert line["release"]
    for private in ("Zebedee", "hunter2", SAYS, "28 days"):
        assert private not in text


async def test_a_wrong_request_is_logged_without_its_body(furnished: House) -> None:
    async with opened(furnished.settings()) as api:
        await api.client.post("/v1/query", json={"question": "Zebedee", "passwort": "hunter2"})
        assert "Zebedee" not in api.log_text
        assert "hunter2" not in api.log_text


async def test_questions_of_machines_are_not_worth_a_line(furnished: House) -> None:
    async with opened(furnished.settings()) as api:
        for path in ("/livez", "/readyz", "/metrics"):
            await api.client.get(path)
        assert [line for line in api.log if line["event"] == "request"] == []


@pytest.mark.parametrize("header", [None, "", "hello", PARENT.upper(), PARENT + "\n", PARENT + "-x" * 99])
def test_a_malformed_traceparent_is_nothing(header: str | None) -> None:
    assert caller_trace(header) == {}


ADDRESS = "redis://app:hunter2@cache:6379/0?token=hunter2&db=1"


@pytest.mark.parametrize("form", ["json", "text"])
def test_no_line_shows_the_password_of_an_address(form: Literal["json", "text"]) -> None:
    stream = io.StringIO()
    log = make_logger(AppSettings(log_format=form, _env_file=None), stream)
    log.warning("lost " + ADDRESS, where=ADDRESS, tried=[ADDRESS], by={"cache": ADDRESS}, error=RuntimeError(ADDRESS), port=6379)
    try:
        raise RuntimeError(ADDRESS)
    except RuntimeError:
        log.exception("request failed")
    text = stream.getvalue()
    assert "hunter2" not in text
    assert text.count("redis://app:***@cache:6379/0?token=***&db=1") == 6
    assert "Traceback" in text
    assert "6379" in text


def test_the_servers_own_lines_show_none_either() -> None:
    formatter = uvicorn_logging(AppSettings(_env_file=None), RepeatedEvents())["formatters"]["line"]
    line = formatter["()"](**{name: value for name, value in formatter.items() if name != "()"}).format(
        logging.LogRecord("uvicorn.error", logging.ERROR, __file__, 1, "lost %s", (ADDRESS,), None)
    )
    assert "hunter2" not in line
    assert "redis://app:***@cache:6379/0?token=***&db=1" in line
