import pytest

from serving.app.core.telemetry import caller_trace
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
    assert [stage for stage, _ in line["stage_ms"]] == ["guard", "cache", "retrieve", "route", "answer", "guard"]
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
