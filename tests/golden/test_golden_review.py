import io
import json
from pathlib import Path

import pytest

from harness.golden.candidate import Candidate, Proposal, Provenance, ReviewNote
from harness.golden.load import load_golden
from harness.golden.publish import publish
from harness.golden.queue import Queue
from harness.golden.review import CandidateReview, nearest_case, proposal_yaml, quote_context
from serving.pipeline.errors import DataError
from serving.pipeline.index.corpus import load_corpus
from tests.support.making import a_case
from tests.support.world import World

AT = "2026-11-01T10:00:00+00:00"
EVIDENCE = {"document": "hr/leave.md", "quote": "30 days of paid holiday"}


def candidate(question: str, source: str = "synth", **changes: object) -> Candidate:
    values = {"question": question, "answers": ["30 days"], "evidence": [EVIDENCE], "key_facts": ["30 days"]}
    return Candidate.of(Proposal.model_validate(values | changes), Provenance.model_validate({"source": source, "made_at": AT}))


def a_review(world: World, *candidates: Candidate, reviewer: str = "Ann") -> CandidateReview:
    root = world.root / "datasets"
    queue = Queue(root / "golden/tiny")
    queue.add(candidates)
    return CandidateReview(queue, load_golden(root, "tiny"), load_corpus(root / "corpora/tiny"), reviewer, clock=lambda: AT)


def published(world: World, review: CandidateReview) -> Path:
    return publish(world.root / "datasets", "tiny", review.corpus, reviewer="Bob", today="2026-11-02").folder


def test_accepted_candidates_become_the_next_version_after_the_old_lines_byte_for_byte(world: World) -> None:
    one, other = candidate("How long is the holiday?"), candidate("And how long may one rest?")
    review = a_review(world, one, other)
    review.accept(one)
    review.reject(other, "the same again")
    folder = published(world, review)
    old = (world.root / "datasets/golden/tiny/v1/cases.jsonl").read_bytes()
    new = (folder / "cases.jsonl").read_bytes()
    assert new.startswith(old)
    [line] = new.removeprefix(old).splitlines()
    added = json.loads(line)
    assert (added["id"], added["reviewer"], added["evidence"][0]["start"]) == (one.id, "Ann", 28)
    card = (folder / "CARD.md").read_text()
    assert "version: 2" in card
    assert "Source: 1 synth. Kind: 1 factoid. Accepted by Ann; published by Bob on 2026-11-02." in card
    golden = load_golden(world.root / "datasets", "tiny")
    assert golden.id == "tiny/v2"
    assert golden.check(review.corpus) == []
    assert [one.published for one in review.queue.read()] == ["tiny/v2", ""]


def test_old_cases_keep_their_split_in_the_new_version(world: World) -> None:
    one = candidate("How long is the holiday?")
    review = a_review(world, one)
    review.accept(one)
    before = {case.id for case in review.golden.tune().cases}
    published(world, review)
    after = {case.id for case in load_golden(world.root / "datasets", "tiny").tune().cases}
    assert before == after - {one.id}


def test_cases_from_feedback_stay_out_of_the_holdout_whatever_they_hash_to(world: World) -> None:
    many = [candidate(f"Holiday question number {number}, how long?", "feedback") for number in range(30)]
    review = a_review(world, *many)
    for one in many:
        review.accept(one)
    published(world, review)
    golden = load_golden(world.root / "datasets", "tiny")
    held = golden.holdout(why="test", ledger=world.root / "looks.jsonl")
    assert not [case.id for case in held.cases if case.id.startswith("feedback")]
    unpinned = type(golden)(
        golden.folder, golden.card, tuple(case.model_copy(update={"pinned": ""}) for case in golden.cases), golden.lines, golden.digest
    )
    loose = unpinned.holdout(why="test", ledger=world.root / "looks.jsonl")
    assert [case.id for case in loose.cases if case.id.startswith("feedback")]  # without the pin some would be there
    assert "30 came from feedback and are pinned to the tune split" in (golden.folder / "CARD.md").read_text()


def test_a_pinned_case_may_not_share_a_group_with_the_holdout(world: World) -> None:
    groups = [f"g{number}" for number in range(8)]
    pairs = [(candidate(f"Asked in {group}?", group=group), candidate(f"Pinned in {group}?", "feedback", group=group)) for group in groups]
    review = a_review(world, *(one for pair in pairs for one in pair))
    for pair in pairs:
        for one in pair:
            review.accept(one)
    with pytest.raises(DataError, match="of its group .* is in the other split; one of them is pinned"):
        published(world, review)
    assert not (world.root / "datasets/golden/tiny/v2").exists()


def test_what_a_check_of_the_new_version_would_refuse_is_not_accepted_and_not_published(world: World) -> None:
    one, again, known = (
        candidate("How long is it?"),
        candidate("How long -- is it"),
        candidate("How many days of paid holiday does an employee have"),
    )
    review = a_review(world, one, again, known)
    review.accept(one)
    with pytest.raises(DataError, match=f"{one.id!r} asks this already, and is accepted"):
        review.accept(again)
    with pytest.raises(DataError, match="tiny/v1 asks this already: case 't0'"):
        review.accept(known)
    review.queue.change(
        again.id, lambda other: other.model_copy(update={"state": "accepted", "reviewer": "Ann"})
    )  # as an older version let it
    with pytest.raises(DataError, match="asks the same, word for word, as"):
        published(world, review)
    assert not (world.root / "datasets/golden/tiny/v2").exists()


def test_text_that_is_no_yaml_is_no_end_of_a_review(world: World) -> None:
    one = candidate("How long?")
    review = a_review(world, one)
    for text in ("answers: [a\nb: 1", "answers: " + "[" * 5_000):
        with pytest.raises(DataError, match="as edited.*: not YAML"):
            review.edit(one, text)


def test_nothing_is_written_when_a_check_fails(world: World) -> None:
    one = candidate("How long is the holiday?")
    review = a_review(world, one)
    review.accept(one)
    (world.root / "datasets/corpora/tiny/hr/leave.md").write_text("# Leave\n\nEvery employee has 28 days of paid holiday a year.\n")
    before = review.queue.path.read_bytes()
    said = world.touchstone("golden", "review", "tiny", "--publish", "--reviewer", "Bob")
    assert said.code == 2
    assert "stands 0 times in 'hr/leave.md'" in said.err
    assert sorted(path.name for path in (world.root / "datasets/golden/tiny").iterdir()) == ["queue.jsonl", "queue.sha256", "v1"]
    assert review.queue.path.read_bytes() == before


def test_publishing_goes_on_after_a_writer_was_killed_between_its_two_steps(world: World) -> None:
    one, other = candidate("How long is the holiday?"), candidate("And how long may one rest?")
    review = a_review(world, one, other)
    review.accept(one)
    published(world, review)
    review.queue.change(one.id, lambda done: done.model_copy(update={"published": ""}))  # as if killed before the queue was told
    with pytest.raises(DataError, match="No accepted candidate waits"):
        published(world, review)
    assert review.queue.get(one.id).published == "tiny/v2"
    a_review(world).accept(other)
    assert published(world, review).name == "v3"


def test_a_whole_case_is_needed_to_be_accepted(world: World) -> None:
    bare, known = candidate("How long?", answers=[]), candidate("how many days of paid  holiday does an employee have?")
    review = a_review(world, bare, known)
    with pytest.raises(DataError, match="needs at least one reference"):
        review.accept(bare)
    with pytest.raises(DataError, match="tiny/v1 asks this already: case 't0'"):
        review.accept(known)
    with pytest.raises(DataError, match="needs a reason"):
        review.reject(bare, " ")
    with pytest.raises(DataError, match="needs a reviewer's name"):
        a_review(world, reviewer="")
    assert {one.state for one in review.queue.read()} == {"waiting"}


def test_a_candidate_that_another_reviewer_decided_meanwhile_is_not_decided_again_unseen(world: World) -> None:
    one = candidate("How long is the holiday?")
    a_review(world, one, reviewer="Bob").reject(one, "no")
    with pytest.raises(DataError, match="was changed meanwhile .now rejected, by Bob.. Look again"):
        a_review(world).accept(one)


def test_an_edit_is_validated_like_a_new_case_and_drops_what_was_said_of_the_old_words(world: World) -> None:
    one = candidate("How long is the holiday?").model_copy(update={"marks": (ReviewNote(name="trivial"),)})
    review = a_review(world, one)
    text = proposal_yaml(one.case)
    assert "start" not in text
    for bad, words in (
        ("question: [", "line 1: not YAML"),
        (text.replace("30 days of", "31 days of"), "stands 0 times"),
        ("- 1", "keys and values"),
    ):
        with pytest.raises(DataError, match=words):
            review.edit(one, bad)
    edited = review.edit(one, text.replace("How long is", "How many days are in"))
    assert (edited.case.question, edited.state, [mark.name for mark in edited.marks]) == (
        "How many days are in the holiday?",
        "waiting",
        ["edited"],
    )
    assert edited.id == one.id


def test_the_nearest_question_is_that_with_the_same_words_in_whatever_order() -> None:
    cases = [a_case(id="a", question="What is the notice period for managers?"), a_case(id="b", question="Who pays the hotel?")]
    found = nearest_case("For managers, what notice period is there?", cases)
    assert found is not None
    assert (found.case.id, found.similarity) == ("a", 1.0)
    assert nearest_case("Anything?", []) is None


def test_a_quote_is_shown_with_the_lines_around_it(world: World) -> None:
    review = a_review(world)
    shown = quote_context(review.accept(a_review(world, candidate("New?")).queue.read()[0]).case.evidence[0], review.corpus)
    assert (shown.before, shown.quote) == ("# Leave\n\nEvery employee has ", "30 days of paid holiday")
    assert shown.after.startswith(" a year.\n")


def review_by_keys(world: World, monkeypatch: pytest.MonkeyPatch, keys: str, *more: str) -> str:
    monkeypatch.setattr("sys.stdin", io.StringIO(keys))
    said = world.touchstone("golden", "review", "tiny", "--reviewer", "Ann", *more)
    return said.out + said.err


def test_the_loop_keeps_each_decision_at_once_even_when_it_is_cut_off(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    review = a_review(world, candidate("One?"), candidate("Two?"), candidate("Three?"))
    shown = review_by_keys(world, monkeypatch, "a\nr\nno use\n")  # the input ends before the third
    assert "stopped; what was finished is kept" in shown
    assert [one.state for one in review.queue.read()] == ["accepted", "rejected", "waiting"]
    assert review.queue.read()[1].note == "no use"
    shown = review_by_keys(world, monkeypatch, "s\ny\n")
    assert "tiny/v2: 11 cases, 1 of them new" in shown


def test_the_loop_edits_in_the_editor_and_asks_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    review = a_review(world, candidate("One?"))
    editor = world.root / "editor.sh"
    editor.write_text('#!/bin/sh\nsed -i "s/One?/One what?/" "$1"\n')
    editor.chmod(0o755)
    monkeypatch.setenv("VISUAL", str(editor))
    review_by_keys(world, monkeypatch, "e\na\nn\n")
    assert [(one.case.question, one.state) for one in review.queue.read()] == [("One what?", "accepted")]


def test_a_candidate_cannot_steer_the_terminal(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    a_review(world, candidate("One\x1b[2J[red]?", domain="\x1b[2Jsea"))
    shown = review_by_keys(world, monkeypatch, "q\n")
    assert "\x1b[2J" not in shown
    assert "One\ufffd[2J[red]?" in shown


def test_decisions_can_be_made_without_asking(world: World) -> None:
    one, other = candidate("One?"), candidate("Two?")
    a_review(world, one, other)
    listed = world.touchstone("golden", "review", "tiny", "--json").json
    assert isinstance(listed, list)
    assert [row["id"] for row in listed] == [one.id, other.id]
    assert world.touchstone("golden", "review", "tiny", "--accept", one.id).code == 2  # whose decision?
    assert "needs a reason" in world.touchstone("golden", "review", "tiny", "--reject", one.id, "--reviewer", "Ann").err
    said = world.touchstone(
        "golden", "review", "tiny", "--reviewer", "Ann", "--accept", one.id, "--reject", other.id, "--why", "no", "--publish", "--json"
    )
    assert said.json == {"decided": {one.id: "accepted", other.id: "rejected"}, "published": "tiny/v2"}
    assert (
        "is in tiny/v2 already" in world.touchstone("golden", "review", "tiny", "--reject", one.id, "--why", "no", "--reviewer", "Ann").err
    )
    assert "No candidate 'x'" in world.touchstone("golden", "review", "tiny", "--accept", "x", "--reviewer", "Ann").err
