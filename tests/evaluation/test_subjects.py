import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document as LangChainDocument
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda, RunnablePassthrough

from harness.evaluation.evaluator import Evaluator
from harness.evaluation.places import PlacedSubject
from harness.evaluation.subject import Subject
from harness.evaluation.subjects import EndpointSubject, FunctionSubject, RunnableSubject, load_subject, subject_of
from harness.golden.sets import Split
from harness.project.evaluate import unused_name
from harness.results.report import EvalReport
from harness.results.report_file import read_report, write_report
from harness.settings import read_settings
from serving.pipeline.errors import ConfigError, RequestError
from serving.pipeline.index.corpus import Corpus
from serving.pipeline.types import Document, Query, Trace
from tests.support.making import a_case
from tests.support.world import World

ANSWER = "It is 30 days."
PLACED = {"text": "x" * 10, "document": "doc", "start": 10}


def asked(subject: Subject, question: str = "How long?") -> Trace:
    return asyncio.run(subject.answer(Query(question)))


def evaluated(app: Any, *metrics: str, count: int = 3) -> EvalReport:
    split = Split("tiny/v1", "tune", tuple(a_case(id=f"c{place}") for place in range(count)), "g")
    return asyncio.run(Evaluator(metrics).run(subject_of(app), split))


# ---- functions


async def asynchronous(question: str) -> str:
    return ANSWER


@pytest.mark.parametrize(
    "app", [lambda question: ANSWER, asynchronous, lambda question: asynchronous(question), lambda q: {"answer": ANSWER}]
)
def test_a_function_of_a_question_is_scored(app: Callable[[str], Any]) -> None:
    report = evaluated(app, "key_facts", "recall@5", "quality", "usd", "llm_calls")
    assert (report.mean("key_facts"), report.errors) == (1.0, [])
    reasons = {score.metric: score.reason for score in report.rows[0].scores if score.value is None}
    assert reasons["recall@5"] == "the app shows no place in a document of what it found"
    assert reasons["quality"] == "the app shows no citations of passages"
    assert reasons["usd"].startswith("no price for")
    assert report.header.app and report.costs["usd"] is None


def test_what_an_app_shows_is_scored() -> None:
    told = {"answer": "30 days [1].", "contexts": [PLACED, "other"], "usage": {"input_tokens": 9, "output_tokens": 3, "usd": 0.5}}
    report = evaluated(lambda question: told, "recall@5", "quality", "citation_precision", "usd", "input_tokens")
    assert [report.mean(name) for name in report.header.metrics] == [1.0, 1.0, 1.0, 0.5, 9.0]


def test_an_app_that_cites_sometimes_is_scored_by_its_citations_always() -> None:
    def app(question: str) -> dict[str, Any]:
        calls.append(question)
        return {"answer": ANSWER if len(calls) == 1 else "30 days [1].", "contexts": [PLACED]}

    calls: list[str] = []
    assert sorted(evaluated(app, "citation_precision").values("citation_precision")) == [0.0, 1.0, 1.0]


def test_a_refusal_in_any_words_is_one() -> None:
    assert asked(subject_of(lambda question: "I'm sorry, but I don't know the answer.")).answer.refused
    assert asked(subject_of(lambda question: {"answer": "No.", "refused": True})).answer.refused
    assert not asked(subject_of(lambda question: ANSWER)).answer.refused


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "it gave NoneType, not text"),
        ({"reply": "x"}, "its answer has no 'answer'; it has reply"),
        ({"answer": 3}, "it gave int"),
        ({"answer": "x", "contexts": 3}, "its passages are int, not a list"),
        ({"answer": "x", "contexts": [{"page": 1}]}, "its passage 1 has no text"),
        ({"answer": "x", "contexts": [{"text": "x", "metadata": "x"}]}, "the metadata of its passage 1 are str, not a mapping"),
        ((part for part in "30 days"), "it gave generator, not text"),
    ],
)
@pytest.mark.slow
def test_an_answer_that_cannot_be_read_is_the_apps_fault_and_no_outage(value: Any, words: str) -> None:
    report = evaluated(lambda question: value, "key_facts", count=1)
    [row] = report.errors
    assert row.error and words in row.error.message and not row.error.infrastructure
    assert report.mean("key_facts") is None


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (SystemExit(0), "it ended the program with sys.exit(0)"),
        (asyncio.CancelledError("gave up"), "CancelledError: gave up"),
        (ValueError("first\nsecond"), "ValueError: first second"),
    ],
)
def test_an_app_that_ends_or_cancels_itself_fails_its_case_alone(error: BaseException, words: str) -> None:
    def app(question: str) -> str:
        if next(numbers) == 1:
            raise error
        return ANSWER

    numbers = iter(range(9))
    [row] = (report := evaluated(app, "key_facts")).errors
    assert row.error and row.error.message.endswith(words)
    assert len(report.values("key_facts")) == 2


def test_half_a_character_of_an_app_is_written_as_lost(tmp_path: Path) -> None:
    report = evaluated(lambda question: {"answer": "30 \ud83d days", "contexts": ["a \ude00"]}, "key_facts", count=1)
    write_report(report, tmp_path / "cases.jsonl")
    [row] = read_report(tmp_path / "cases.jsonl").rows
    assert row.trace and (row.trace.answer.text, row.trace.hits[0].chunk.text) == ("30 \ufffd days", "a \ufffd")


def test_numbers_that_are_none_count_as_unknown() -> None:
    told = {"answer": ANSWER, "usage": {"input_tokens": -4, "output_tokens": "3", "usd": float("nan")}}
    [usage] = asked(subject_of(lambda question: told)).usage
    assert (usage.input_tokens, usage.output_tokens, usage.usd, usage.priced) == (0, 0, 0.0, False)


def test_an_app_that_answers_nothing_is_no_success(world: World) -> None:
    (world.root / "silent_app.py").write_text("def answer(question):\n    return None\n")
    said = world.touchstone("eval", "--subject", "silent_app:answer", "-g", "tiny", "--no-tracking", "--name", "kept")
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert "Not one of" in said.err and "it gave NoneType, not text" in said.err
    assert "cases have no answer" in said.out and (world.root / "reports/runs/kept/cases.jsonl").exists()
    assert world.touchstone("eval", "--subject", "", "-g", "tiny", "--no-tracking").code == 2


def test_what_was_not_scored_is_told_with_its_reason(world: World) -> None:
    (world.root / "plain_app.py").write_text("def answer(question):\n    return '30 days'\n")
    said = world.touchstone("eval", "--subject", "plain_app:answer", "-g", "tiny", "--no-tracking", "-m", "recall@2", "-m", "key_facts")
    assert said.code == 0 and "not scored: recall@2: the app shows no place in a document of what it found" in said.out
    assert "tokens, , " not in said.out


def test_two_evaluations_of_one_second_have_a_name_each(world: World) -> None:
    settings = read_settings(world.root)
    for name in ("a", "a-2"):
        (settings.reports / "runs" / name).mkdir(parents=True)
        (settings.reports / "runs" / name / "cases.jsonl").touch()
    assert [unused_name(settings, "runs", name) for name in ("a", "b")] == ["a-3", "b"]


@pytest.mark.slow
def test_an_app_is_known_by_its_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_app.py").write_text("NUMBER = 1\n\ndef answer(question: str) -> str:\n    return '30 days'\n")
    first = load_subject("my_app:answer").identity
    assert first.name == "my_app:answer"
    assert first.config["app"]["path"] == "my_app:answer"
    (tmp_path / "my_app.py").write_text("NUMBER = 2\n\ndef answer(question: str) -> str:\n    return '30 days'\n")
    assert load_subject("my_app:answer").identity.config_digest != first.config_digest
    assert load_subject("json:dumps").identity.config_digest == load_subject("json:dumps").identity.config_digest


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("no_such_module:answer", "there is no module 'no_such_module' on"),
        ("broken_app:answer", "cannot be imported: ZeroDivisionError: division by zero"),
        ("lacking_app:answer", "needs 'no_such_package', which is not installed"),
        ("ending_app:answer", "cannot be imported: SystemExit: 0"),
        ("json:answer", "the module 'json' has no 'answer'"),
        ("json:__name__", "json:__name__ answers no questions"),
        ("json:JSONDecoder", "json:JSONDecoder answers no questions"),
    ],
)
def test_an_app_that_cannot_be_had_is_one_line_and_exit_code_2(world: World, word: str, words: str) -> None:
    (world.root / "broken_app.py").write_text("1 / 0\n")
    (world.root / "ending_app.py").write_text("import sys\n\nsys.exit(0)\n")
    (world.root / "lacking_app.py").write_text("import no_such_package\n")
    said = world.touchstone("eval", "--subject", word, "-g", "tiny", "--no-tracking")
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert words in said.err


# ---- LangChain


def chat(*texts: str) -> GenericFakeChatModel:
    meta: dict[str, Any] = {"model_name": "gpt-4o-mini", "model_provider": "openai"}
    usage: Any = {"input_tokens": 1_000_000, "output_tokens": 0, "total_tokens": 1_000_000}
    return GenericFakeChatModel(messages=iter(AIMessage(text, usage_metadata=usage, response_metadata=meta) for text in texts))


def test_a_chain_is_scored_with_the_tokens_and_dollars_of_its_models() -> None:
    chain = ChatPromptTemplate.from_template("Answer {question}") | chat("30 days", "4 weeks")
    trace = asked(RunnableSubject(chain))
    assert trace.answer.text == "30 days"
    [use] = trace.usage
    assert (use.model, use.input_tokens, use.priced) == ("openai:gpt-4o-mini", 1_000_000, True)
    assert use.usd == pytest.approx(0.15)


def test_a_chain_that_gives_its_documents_has_hits_and_citations() -> None:
    found = [LangChainDocument("x" * 10, metadata={"source": "doc", "start_index": 10}), LangChainDocument("y")]
    chain = RunnablePassthrough.assign(context=lambda asked: found) | RunnablePassthrough.assign(
        answer=lambda asked: AIMessage("30 days [1]")
    )
    trace = asked(RunnableSubject(chain, input_key="input"))
    assert [(hit.chunk.document_id, hit.chunk.start, hit.chunk.end) for hit in trace.hits] == [("doc", 10, 20), ("", 0, 0)]
    assert [one.chunk_id for one in trace.answer.citations] == ["doc#10-20"]
    assert trace.usage[0].priced is False


def test_the_question_goes_where_the_schema_says() -> None:
    prompt = ChatPromptTemplate.from_template("{question}")
    assert asked(RunnableSubject(prompt | (lambda value: value.to_string()))).answer.text == "Human: How long?"
    with pytest.raises(ConfigError, match="takes context, topic: say which is the question"):
        asked(RunnableSubject(ChatPromptTemplate.from_template("{topic} {context}")))


@pytest.mark.slow
def test_chains_of_other_steps_have_other_digests() -> None:
    def identity(template: str, last: Callable[[Any], str]) -> str:
        return RunnableSubject(ChatPromptTemplate.from_template(template) | RunnableLambda(last)).identity.config_digest

    def one(value: Any) -> str:
        return "one"

    def two(value: Any) -> str:
        return "two"

    assert identity("{question}", one) == identity("{question}", one)
    assert len({identity("{question}", one), identity("{question}", two), identity("Please: {question}", one)}) == 3


# ---- HTTP


@contextmanager
def serving(status: int, body: bytes, seen: list[Any] | None = None) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told = self.rfile.read(int(self.headers["content-length"]))
            if seen is not None:
                seen.append((json.loads(told), self.headers.get("authorization")))
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/ask"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def dripping() -> Iterator[str]:
    """An endpoint that sends a byte now and then, so that no single read takes long, until it is left."""
    left = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(200)
            self.end_headers()
            with suppress(OSError):
                while not left.wait(0.02):
                    self.wfile.write(b" ")

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/ask"
    finally:
        left.set()
        server.shutdown()
        server.server_close()


def test_our_own_api_is_read_with_its_citations_and_costs() -> None:
    cited = {"marker": 1, "document": "doc", "title": "", "heading": "", "start": 10, "end": 20, "text": "x" * 10}
    usage = {"input_tokens": 9, "output_tokens": 3, "usd": 0.5, "simulated": True, "priced": True}
    told = {"answer": "30 days [1].", "citations": [cited], "refused": False, "model": "nova", "usage": usage}
    seen: list[Any] = []
    with serving(200, json.dumps(told).encode(), seen) as url:
        report = evaluated(EndpointSubject(url, headers=(("authorization", "Bearer x"),)), "citation_precision", "usd", "recall@5", count=1)
    assert seen == [({"question": "How long?"}, "Bearer x")]
    assert [report.mean(name) for name in report.header.metrics] == [1.0, 0.5, None]  # what it cites is not all that it found
    assert report.simulated
    assert report.header.app == url


@pytest.mark.parametrize(
    ("status", "body", "outage"),
    [
        (429, b"slow", True),
        (503, b"down", True),
        (200, b'{"answer": "[1] Leave: 28 days.", "degraded": true}', True),  # passages alone are no answer to be scored
        (200, b"<html>", False),
        (200, b"[1]", False),
    ],
)
def test_an_outage_of_an_endpoint_is_told_from_its_fault(status: int, body: bytes, outage: bool) -> None:
    with serving(status, body) as url:
        report = evaluated(EndpointSubject(url), "key_facts", count=1)
    assert (len(report.errors), len(report.outages)) == (1, int(outage))


def test_silence_is_an_outage_and_a_wrong_address_the_users_mistake() -> None:
    with serving(401, b"who are you") as url, pytest.raises(ConfigError, match="answered 401: who are you. Is the address right"):
        evaluated(EndpointSubject(url), "key_facts", count=1)
    assert len(evaluated(EndpointSubject(url), "key_facts", count=1).outages) == 1  # nobody listens there any more
    with serving(422, b"too long") as url, pytest.raises(RequestError, match="refused the question with 422: too long"):
        evaluated(EndpointSubject(url), "key_facts", count=1)


@pytest.mark.parametrize(
    "url", ["http://me:secret@host/x", "http://me:a@secret@host/x", "http://host/x?api_key=secret", "http://host/x?a=b&X-Token=secret#top"]
)
def test_an_endpoints_secrets_are_shown_nowhere(url: str) -> None:
    subject = EndpointSubject(url, headers=(("authorization", "Bearer secret"),))
    assert "secret" not in f"{subject!r} {subject.identity}"
    assert "host/x" in subject.identity.name
    assert EndpointSubject("http://host/x?keyword=one&monkey=two").identity.name == "http://host/x?keyword=one&monkey=two"


def test_an_answer_that_does_not_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.evaluation.subjects.endpoint.ANSWER_LIMIT", 1000)  # the real one takes seconds to fill
    with serving(200, b"x" * 1001) as url:
        report = evaluated(EndpointSubject(url), "key_facts", count=1)
    error = report.errors[0].error
    assert error and "its answer has more than 1000 bytes" in error.message
    assert not report.outages

    with dripping() as url:
        report = evaluated(EndpointSubject(url, timeout_s=0.2), "key_facts", count=1)
    error = report.outages[0].error
    assert error and "took more than 0.2 s for its answer" in error.message


def test_json_that_is_too_deep_is_the_apps_own_fault() -> None:
    with serving(200, b"[" * 100_000) as url:
        report = evaluated(EndpointSubject(url), "key_facts", count=1)
    assert (len(report.errors), len(report.outages)) == (1, 0)


# ---- places


def test_passages_are_found_in_the_corpus_by_their_words() -> None:
    documents = (Document("hr/leave.md", "# Leave\n\nEveryone has 30 days.\n"), Document("it/vpn.md", "The VPN.\n\nAgain."))
    app = subject_of(
        lambda question: {"answer": "30 [1]", "contexts": [" Everyone has 30 days.\n", {"text": "z", "source": "/data/it/vpn.md"}, "?"]}
    )
    trace = asked(PlacedSubject(app, Corpus("tiny", documents, "k")))
    assert [(hit.chunk.document_id, hit.chunk.start, hit.chunk.end) for hit in trace.hits] == [
        ("hr/leave.md", 9, 30),
        ("it/vpn.md", 0, 0),
        ("", 0, 0),
    ]
    assert trace.answer.citations[0].span == trace.hits[0].chunk.span
    assert trace.passages == trace.hits


@pytest.mark.parametrize("start", [-5, 9999])
def test_a_place_outside_its_document_is_looked_up_by_its_words(start: int) -> None:
    told = {"answer": "30 [1]", "contexts": [{"text": "Everyone has 30 days.", "source": "hr/leave.md", "start": start}]}
    documents = (Document("hr/leave.md", "# Leave\n\nEveryone has 30 days.\n"),)
    trace = asked(PlacedSubject(subject_of(lambda question: told), Corpus("tiny", documents, "k")))
    assert (trace.hits[0].chunk.start, trace.hits[0].chunk.end) == (9, 30)


# ---- on the command line


APP = """
from langchain_core.runnables import RunnableLambda

def answer(question: str) -> str:
    return "Every employee has 30 days of paid holiday a year."

chain = RunnableLambda(lambda question: {"answer": "30 days [1]", "context": ["Every employee has 30 days of paid holiday a year."]})
"""


@pytest.mark.slow
def test_an_app_is_evaluated_and_compared_with_a_configuration(world: World) -> None:
    (world.root / "shop_app.py").write_text(APP)
    said = world.touchstone(
        "eval", "--subject", "shop_app:answer", "-g", "tiny", "--name", "mine", "--json", "-m", "key_facts", "-m", "recall@2"
    )
    assert said.code == 0, said.err
    assert said.json["numbers"]["key_facts"] is not None  # type: ignore[index]
    assert said.json["numbers"]["recall@2"] is None  # type: ignore[index]
    found = world.touchstone("compare", "shop_app:chain", "tiny.yaml", "-g", "tiny", "-m", "recall@2", "-m", "key_facts", "--json")
    assert found.code == 0, found.err
    value: Any = found.json
    assert {one["metric"] for one in value["metrics"]} == {"recall@2", "key_facts"}
    assert value["changes"] == []
    assert "A is an app, shop_app:chain" in value["notes"][0]
    again = world.touchstone("compare", "mine", "tiny.yaml", "--json")
    assert again.code == 0, again.err
    assert world.touchstone("compare", "mine", "shop_app:answer", "--set-b", "retrieve.top_k=1").code == 2
    assert world.touchstone("eval", "--subject", "shop_app:answer", "-s", "retrieve.top_k=1").code == 2
    rule = {"id": "q", "rule": "floor", "metric": "key_facts", "at_least": 0.1}
    (world.root / "gate.yaml").write_text(json.dumps({"name": "small", "golden": "tiny/v1", "split": "tune", "rules": [rule]}))
    for arguments in (("gate", "gate.yaml"), ("champion", "set", "gate.yaml")):
        refused = world.touchstone(*arguments, "--run", "reports/runs/mine/cases.jsonl")
        assert (refused.code, refused.err.count("\n")) == (2, 1)
        assert "an app of yours" in refused.err


def test_a_subject_of_ones_own_is_taken_as_it_is() -> None:
    mine = FunctionSubject(lambda question: ANSWER, name="mine", serial=True)
    assert subject_of(mine) is mine
    assert replace(mine, name="yours").identity.config_digest != ""
