import json
import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from harness.golden.candidate import Candidate, Proposal, Provenance, locate_proposal, read_proposal
from harness.golden.case import Case
from harness.golden.queue import Queue
from serving.pipeline.errors import DataError
from serving.pipeline.index.corpus import Corpus
from serving.pipeline.types import Document
from tests.support.waiting import WITHIN_S
from tests.support.world import World
from tests.support.writers import hold, write_many

AT = "2026-11-01T10:00:00+00:00"
CORPUS = Corpus.of("tiny", [Document("a.md", "One fish. Two fish. Red fish is 5 EUR.", domain="sea")])


def candidate(question: str, source: str = "hand", **changes: object) -> Candidate:
    values = {"question": question, "answers": ["5 EUR"], "evidence": [{"document": "a.md", "quote": "Red fish is 5 EUR"}]}
    provenance = Provenance.model_validate({"source": source, "made_at": AT, "golden": "tiny/v1"})
    return Candidate.of(Proposal.model_validate(values | changes), provenance)


def test_what_is_added_is_read_back_in_order(tmp_path: Path) -> None:
    queue = Queue(tmp_path)
    assert queue.read() == ()
    added = queue.add([candidate("One?"), candidate("Two?")])
    assert [one.case.question for one in added.new] == ["One?", "Two?"]
    assert queue.read() == added.new


def test_the_same_question_on_the_same_evidence_is_queued_once(tmp_path: Path) -> None:
    queue = Queue(tmp_path)
    [first] = queue.add([candidate("Which?")]).new
    queue.change(first.id, lambda one: one.model_copy(update={"state": "rejected", "note": "no"}))
    added = queue.add([candidate("which?"), candidate("Other?"), candidate("Other?")])
    assert [one.case.question for one in added.new] == ["Other?"]
    assert added.known[0].state == "rejected"
    assert len(queue.read()) == 2


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{nope", r"queue\.jsonl:2: not JSON"),
        ("[1]", r"queue\.jsonl:2: an object"),
        ('{"id": "x"}', r"queue\.jsonl:2: case: field required"),
        ('{"id": "x", "stat": 1}', r"queue\.jsonl:2: "),
    ],
)
def test_a_bad_line_is_named_by_file_and_number(tmp_path: Path, line: str, words: str) -> None:
    queue = Queue(tmp_path)
    queue.add([candidate("One?")])
    with queue.path.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(DataError, match=words):
        queue.read()
    before = queue.path.read_text()
    with pytest.raises(DataError):
        queue.add([candidate("Two?")])
    assert queue.path.read_text() == before


def test_a_candidate_that_stands_twice_is_refused(tmp_path: Path) -> None:
    queue = Queue(tmp_path)
    queue.add([candidate("One?")])
    queue.path.write_text(queue.path.read_text() * 2)
    with pytest.raises(DataError, match=r"queue\.jsonl:2: candidate 'hand-\w+' stands in line 1 already"):
        queue.read()


def test_writers_at_the_same_time_lose_nothing_of_each_other(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    ready = spawn.Barrier(3)
    writers = [spawn.Process(target=write_many, args=(tmp_path, writer, ready)) for writer in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert {one.case.question for one in Queue(tmp_path).read()} == {
        f"Question {writer}.{number}?" for writer in range(3) for number in range(10)
    }


def test_a_killed_writer_leaves_the_file_whole_and_the_lock_free(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    Queue(tmp_path).add([candidate("One?")])
    held = spawn.Event()
    writer = spawn.Process(target=hold, args=(tmp_path, held))
    writer.start()
    assert held.wait(WITHIN_S)
    assert writer.pid is not None
    os.kill(writer.pid, signal.SIGKILL)
    writer.join()
    assert len(Queue(tmp_path).add([candidate("Two?")]).new) == 1
    assert len(Queue(tmp_path).read()) == 2


def test_a_proposal_has_no_field_that_a_case_lacks() -> None:
    assert set(Proposal.model_fields) <= set(Case.model_fields)


def test_a_quote_must_stand_exactly_once() -> None:
    one = locate_proposal(candidate("Q?").case, CORPUS, "here")
    assert CORPUS.documents[0].text[one.evidence[0].start : one.evidence[0].end] == "Red fish is 5 EUR"
    for quote, words in (("fish", "stands 3 times .* Quote more around it"), ("blue", "stands 0 times .* as the document writes it")):
        with pytest.raises(DataError, match=words):
            locate_proposal(read_proposal({"question": "Q?", "evidence": [{"document": "a.md", "quote": quote}]}, "here"), CORPUS, "here")
    with pytest.raises(DataError, match=r"no document 'b.md'.* Did you mean 'a.md'"):
        locate_proposal(read_proposal({"question": "Q?", "evidence": [{"document": "b.md", "quote": "x"}]}, "here"), CORPUS, "here")


def test_a_case_from_feedback_is_pinned_to_tune_and_others_are_not() -> None:
    assert candidate("Q?", "feedback").as_case().pinned == "tune"
    assert candidate("Q?", "synth").as_case().pinned == ""
    assert "against tiny/v1" in candidate("Q?", "feedback").as_case().provenance


def test_what_a_candidate_lacks_is_said() -> None:
    with pytest.raises(DataError, match="needs at least one reference in 'answers'"):
        candidate("Q?", answers=[]).as_case()


ADD = ("golden", "add", "tiny", "--question", "How many holidays?", "--answer", "30 days")


def test_adding_by_hand_puts_a_candidate_into_the_queue_and_not_into_the_set(world: World) -> None:
    said = world.touchstone(*ADD, "--evidence", "hr/leave.md: 30 days of paid holiday", "--key-fact", "30 days", "--by", "Ann")
    assert said.code == 0, said.err
    [one] = Queue(world.root / "datasets/golden/tiny").read()
    assert (one.state, one.case.domain, one.provenance.source, one.provenance.by) == ("waiting", "hr", "hand", "Ann")
    assert one.case.evidence[0].start == world_text("hr/leave.md", world).index("30 days of paid holiday")
    assert world.touchstone("golden", "check", "tiny").code == 0
    assert not (world.root / "datasets/golden/tiny/v2").exists()


def world_text(document: str, world: World) -> str:
    return (world.root / "datasets/corpora/tiny" / document).read_text()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--evidence", "hr/leaf.md: 30 days"], "Did you mean 'hr/leave.md'"),
        (["--evidence", "hr/leave.md: e"], "times in 'hr/leave.md'; once is needed"),
        (["--evidence", "no colon"], "write 'DOCUMENT: QUOTE'"),
        (["--source", "feedback"], "belong together"),
        (["--trace", "t1"], "belong together"),
        (["--source", "synth"], "hand or feedback"),
        (["--kind", "guess"], "the case: kind"),
        (["--from", "x.jsonl"], "Give one case by --question"),
    ],
)
def test_adding_says_what_is_wrong_and_queues_nothing(world: World, more: list[str], words: str) -> None:
    said = world.touchstone(*ADD, *more)
    assert said.code == 2
    assert words in said.err
    assert Queue(world.root / "datasets/golden/tiny").read() == ()


def test_a_file_of_proposals_is_added_whole_or_not_at_all(world: World) -> None:
    lines = [{"question": "Fine?"}, {"qestion": "?"}, [1], {"question": "Which?", "evidence": [{"document": "it/vpn.md", "quote": "nope"}]}]
    (world.root / "new.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + "{\n")
    said = world.touchstone("golden", "add", "tiny", "--from", "new.jsonl")
    assert said.code == 2
    for words in (
        "new.jsonl:2: question: field required",
        "new.jsonl:3: a case must be",
        "new.jsonl:4: 'nope' stands 0 times",
        "new.jsonl:5: not JSON",
    ):
        assert words in said.err
    assert Queue(world.root / "datasets/golden/tiny").read() == ()
    (world.root / "new.jsonl").write_text(json.dumps(lines[0]) + "\n")
    added = world.touchstone("golden", "add", "tiny", "--from", "new.jsonl", "--source", "feedback", "--trace", "t-9", "--json").json
    assert isinstance(added, dict)
    assert [(one["provenance"]["trace"], one["provenance"]["golden"]) for one in added["added"]] == [("t-9", "tiny/v1")]


def test_a_like_name_is_sought_only_where_it_is_wanted() -> None:
    lost = Proposal.model_validate({"question": "?", "relevant_ids": ["b.md"]})
    with pytest.raises(DataError, match=r"no document 'b\.md' in corpus 'tiny'\. Did you mean 'a\.md'\?"):
        locate_proposal(lost, CORPUS, "here")
    with pytest.raises(DataError, match=r"no document 'b\.md' in corpus 'tiny'\.$"):
        locate_proposal(lost, CORPUS, "here", hint=False)
    assert [CORPUS.get(name) is not None for name in ("a", "a.md", "b.md")] == [False, True, False]
