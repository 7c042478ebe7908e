"""What a client sees of the checks of the output."""

from typing import Any

from serving.app.query.wire import EXAMPLES, AnswerOut
from tests.app.making import QUESTION, House, config, events, opened

SAYS = "Everyone has 28 days of paid leave a year [1]. Directors have 90 days off [1]."
CHECKED = {
    "guard.output.groundedness": {"name": "groundedness", "action": "flag"},
    "guard.output.confidence": {"name": "confidence", "threshold": 1.0},
}


async def test_confidence_warnings_and_support_are_in_the_answer_and_in_its_stream(house: House) -> None:
    await house.release(config(SAYS, **CHECKED))
    async with opened(house.settings()) as api:
        plain: dict[str, Any] = (await api.ask()).json()
        streamed = events((await api.client.post("/v1/query/stream", json={"question": QUESTION})).text)
        findings = await api.metric("touchstone_answer_findings_total")
        confidences = await api.metric("touchstone_answer_confidence_count")
        logged = api.log[-1]
    assert 0.0 < plain["confidence"] < 1.0
    low, unsupported = plain["warnings"]
    assert low.startswith("Low confidence: ")
    assert unsupported == "Not supported by the documents: “Directors have 90 days off”."
    assert [citation["support"] < 0.5 for citation in plain["citations"]] == [True]
    assert streamed[-1][1]["warnings"] == plain["warnings"]
    assert streamed[-1][1]["confidence"] == plain["confidence"]
    assert 'touchstone_answer_findings_total{finding="ungrounded"} 2.0' in findings
    assert 'touchstone_answer_findings_total{finding="low_confidence"} 2.0' in findings
    assert confidences == ["touchstone_answer_confidence_count 2.0"]
    assert (logged["confidence"], logged["warnings"]) == (plain["confidence"], 2)


async def test_without_checks_there_is_neither_confidence_nor_warning(furnished: House) -> None:
    async with opened(furnished.settings()) as api:
        plain: dict[str, Any] = (await api.ask()).json()
    assert (plain["confidence"], plain["warnings"], plain["citations"][0]["support"]) == (None, [], None)


async def test_a_refusal_names_what_was_found_and_no_more_than_its_reader_may_see(house: House) -> None:
    await house.release(config("The documents I can see do not answer this question."))
    async with opened(house.settings()) as api:
        plain: dict[str, Any] = (await api.ask("How many days of paid leave do directors have?")).json()
        streamed = events(
            (await api.client.post("/v1/query/stream", json={"question": "How many days of paid leave do directors have?"})).text
        )
    assert plain["refused"]
    assert "“Leave policy”" in plain["answer"]
    assert "Salaries" not in plain["answer"]
    assert "".join(data["text"] for name, data in streamed if name == "token") == plain["answer"] == streamed[-1][1]["answer"]


async def test_findings_of_plug_ins_have_one_label(house: House) -> None:
    await house.release(config("Write to jane.roe@example.com [1].", **{"guard.output.pii.name": "pii"}))
    async with opened(house.settings()) as api:
        await api.ask()
        assert await api.metric('touchstone_answer_findings_total{finding="other"}') == [
            'touchstone_answer_findings_total{finding="other"} 1.0'
        ]


async def test_the_document_shows_answers_that_are_answers(furnished: House) -> None:
    async with opened(furnished.settings()) as api:
        schema = (await api.client.get("/openapi.json")).json()["components"]["schemas"]["AnswerOut"]
    assert len(schema["examples"]) == len(EXAMPLES) == 2
    for example in schema["examples"]:
        AnswerOut.model_validate(example)
