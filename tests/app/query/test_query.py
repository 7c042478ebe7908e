from tests.app.making import DOCUMENTS, QUESTION, SAYS, House, opened

TEXTS = {document.id: document.text for document in DOCUMENTS}


async def test_an_answer_comes_with_citations_that_are_exact_slices_of_their_documents(furnished: House) -> None:
    async with opened(furnished.settings()) as api:
        response = await api.ask()
        body = response.json()
    assert response.status_code == 200
    assert body["answer"] == SAYS
    [citation] = body["citations"]
    assert (citation["marker"], citation["document"], citation["title"]) == (1, "leave.md", "Leave policy")
    assert citation["text"] == TEXTS["leave.md"][citation["start"] : citation["end"]]
    assert "28 days" in citation["text"]


async def test_an_answer_says_what_it_cost_which_tier_gave_it_and_which_release_it_is_of(furnished: House) -> None:
    async with opened(furnished.settings()) as api:
        body = (await api.ask()).json()
        digest = api.release_manager.readiness.promoted
    assert body["release"] == digest
    assert body["route"]["tier"] == "lite"
    assert body["model"] == "local:echo"
    assert body["refused"] is False
    assert body["usage"]["output_tokens"] == len(SAYS.split())
    assert body["usage"]["input_tokens"] > len(QUESTION.split())
    assert body["usage"]["usd"] > 0
    assert body["usage"]["simulated"] is True
    assert body["milliseconds"] > 0
    assert body["trace_id"]


async def test_a_question_can_be_narrowed_to_domains_and_metadata(furnished: House) -> None:
    async with opened(furnished.settings()) as api:
        finance = (await api.ask(domains=["finance"])).json()
        current = (await api.ask(metadata={"status": "current"})).json()
        nowhere = (await api.ask(domains=["no such domain"])).json()
    assert [citation["document"] for citation in finance["citations"]] == ["expenses.md"]
    [brand] = current["citations"]
    assert (brand["document"], brand["version"], brand["status"]) == ("brand.md", "4", "current")
    assert brand["snippet"] in brand["text"]
    assert nowhere["refused"] is True
    assert nowhere["citations"] == []


async def test_the_trace_is_shown_only_where_the_server_exposes_it_and_the_caller_asks(furnished: House) -> None:
    body = {"question": QUESTION}
    async with opened(furnished.settings(expose_trace=True)) as api:
        assert (await api.ask()).json()["trace"] is None
        trace = (await api.client.post("/v1/query?trace=1", json=body)).json()["trace"]
    assert [stage["stage"] for stage in trace["stages"]] == ["guard", "cache", "retrieve", "guard", "route", "answer", "guard"]
    assert QUESTION in trace["prompt"]
    async with opened(furnished.settings()) as api:
        assert (await api.client.post("/v1/query?trace=1", json=body)).json()["trace"] is None


async def test_equal_questions_have_traces_of_their_own(furnished: House) -> None:
    async with opened(furnished.settings()) as api:
        first, second = (await api.ask()).json(), (await api.ask()).json()
    assert first["trace_id"] != second["trace_id"]


async def test_the_release_is_told_with_its_configuration_and_evidence(furnished: House) -> None:
    async with opened(furnished.settings()) as api:
        body = (await api.client.get("/v1/release")).json()
        assert body["digest"] == api.release_manager.readiness.promoted
    assert body["config"]["index.embedder.name"] == "local:hashing"
    assert body["index"]["documents"] == len(DOCUMENTS)
    assert body["evidence"]["release"] == body["digest"]
    assert "who" not in body["evidence"]
    assert f"{body['evidence_digest']}.json" in [path.name for path in furnished.releases.glob("*/evidence/*")]


async def test_a_request_keeps_its_own_id_and_a_strange_one_is_replaced(furnished: House) -> None:
    async with opened(furnished.settings()) as api:
        kept = await api.client.get("/livez", headers={"X-Request-ID": "abc-1"})
        replaced = await api.client.get("/livez", headers={"X-Request-ID": 'x" onload=1'})
    assert kept.headers["x-request-id"] == "abc-1"
    assert len(replaced.headers["x-request-id"]) == 32
