import json
from pathlib import Path

import pytest

from harness.golden import sets
from harness.golden.load import golden_sets, load_golden
from harness.golden.seal import seal
from harness.golden.sets import HoldoutSplit, TuneSplit
from serving.pipeline.errors import DataError
from serving.pipeline.index.corpus import Corpus
from serving.pipeline.types import Document

TEXT = "Holiday is 30 days. Sick leave is 6 weeks. Notice is 3 months."
CORPUS = Corpus.of("tiny", [Document("hr/leave.md", TEXT, domain="hr")])
CARD = "---\nname: tiny\nversion: 1\ncorpus: tiny\n---\nA tiny set.\n"


def a_line(ident: str, quote: str = "30 days", **changes: object) -> dict[str, object]:
    return {
        "id": ident,
        "question": f"What about {ident}?",
        "answers": [quote],
        "evidence": [{"document": "hr/leave.md", "quote": quote}],
        **changes,
    }


def a_set(root: Path, *lines: object, card: str = CARD) -> Path:
    folder = root / "golden" / "tiny" / "v1"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cases.jsonl").write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    (folder / "CARD.md").write_text(card)
    return folder


def test_sealing_finds_the_offsets_and_the_set_loads_and_checks(tmp_path: Path) -> None:
    a_set(tmp_path, a_line("a"), a_line("b", "6 weeks"))
    golden = seal(tmp_path, "tiny/v1", CORPUS)
    spans = [case.evidence[0].span for case in golden.cases]
    assert [TEXT[span.start : span.end] for span in spans] == ["30 days", "6 weeks"]
    assert load_golden(tmp_path, "tiny").check(CORPUS) == []
    assert golden_sets(tmp_path) == ["tiny/v1"]


def test_quotes_that_moved_with_their_document_are_found_again_and_changed_ones_are_named(tmp_path: Path) -> None:
    a_set(tmp_path, a_line("a"), a_line("b", "6 weeks"))
    seal(tmp_path, "tiny/v1", CORPUS)
    moved = Corpus.of("tiny", [Document("hr/leave.md", f"As of 2027. {TEXT}", domain="hr")])
    assert len(load_golden(tmp_path, "tiny").check(moved)) == 2
    assert seal(tmp_path, "tiny/v1", moved).check(moved) == []
    changed = Corpus.of("tiny", [Document("hr/leave.md", TEXT.replace("6 weeks", "8 weeks"), domain="hr")])
    with pytest.raises(DataError, match="6 weeks"):
        seal(tmp_path, "tiny/v1", changed)
    assert load_golden(tmp_path, "tiny").check(moved) == []  # nothing was written


def test_a_set_that_changed_after_sealing_is_refused_until_it_is_sealed_again(tmp_path: Path) -> None:
    folder = a_set(tmp_path, a_line("a"))
    with pytest.raises(DataError, match="has no SHA256 file. Run: touchstone golden seal tiny/v1"):
        load_golden(tmp_path, "tiny")
    seal(tmp_path, "tiny/v1", CORPUS)
    text = (folder / "cases.jsonl").read_text()
    (folder / "cases.jsonl").write_text(text.replace("What about", "What of"))
    with pytest.raises(DataError, match=r"cases\.jsonl is not what .*SHA256 says"):
        load_golden(tmp_path, "tiny")


@pytest.mark.parametrize("kept", ["", "first line"])
def test_a_seal_that_lost_a_line_is_refused(tmp_path: Path, kept: str) -> None:
    folder = a_set(tmp_path, a_line("a"))
    seal(tmp_path, "tiny/v1", CORPUS)
    sums = (folder / "SHA256").read_text().splitlines(keepends=True)
    (folder / "SHA256").write_text(sums[0] if kept else "")
    with pytest.raises(DataError, match=r"has no sum of .*CARD\.md"):
        load_golden(tmp_path, "tiny")


def test_a_question_may_hold_a_line_separator_that_json_keeps(tmp_path: Path) -> None:
    a_set(tmp_path, json.dumps(a_line("a", question="One\u2028two?"), ensure_ascii=False))
    assert [case.question for case in seal(tmp_path, "tiny/v1", CORPUS).cases] == ["One\u2028two?"]


def test_a_failed_seal_changes_nothing(tmp_path: Path) -> None:
    folder = a_set(tmp_path, a_line("a"), a_line("b", "40 days"))
    before = (folder / "cases.jsonl").read_text()
    with pytest.raises(DataError, match=r"cases\.jsonl:2: the quote '40 days' stands 0 times"):
        seal(tmp_path, "tiny/v1", CORPUS)
    assert (folder / "cases.jsonl").read_text() == before
    assert not (folder / "SHA256").exists()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{not json", r"cases\.jsonl:2: not JSON"),
        (a_line("a"), r"cases\.jsonl:2: case id 'a' stands in line 1 already"),
        (a_line("b", answers=[]), r"cases\.jsonl:2.*needs at least one reference"),
        (a_line("b", answers=[" "]), r"cases\.jsonl:2.*empty reference"),
        (a_line("b", key_facts=["30 days", " "]), r"cases\.jsonl:2.*empty fact in 'key_facts'"),
        (a_line("b", evidence=[]), r"cases\.jsonl:2.*needs 'evidence' or 'relevant_ids'"),
        (a_line("b", answerable=False), r"cases\.jsonl:2.*unanswerable case has no"),
        (a_line("b", kind="unanswerable"), r"cases\.jsonl:2.*contradict"),
        (a_line("b", kind="guess"), r"cases\.jsonl:2: kind"),
        (a_line("b", qestion="?"), r"cases\.jsonl:2: unknown key 'qestion'. Did you mean 'question'"),
    ],
)
def test_a_malformed_line_is_named_by_its_number(tmp_path: Path, line: object, words: str) -> None:
    a_set(tmp_path, a_line("a"), line)
    with pytest.raises(DataError, match=words):
        load_golden(tmp_path, "tiny", sealed=False)


def test_checking_against_the_corpus_names_file_line_and_case(tmp_path: Path) -> None:
    lines = [a_line("a"), a_line("b", evidence=[{"document": "hr/leaf.md", "quote": "x", "start": 0, "end": 1}])]
    lines.append(a_line("c", evidence=[{"document": "hr/leave.md", "quote": "30 days", "start": 0, "end": 7}]))
    a_set(tmp_path, *lines)
    problems = load_golden(tmp_path, "tiny", sealed=False).check(CORPUS)
    assert len(problems) == 3
    assert "evidence without offsets" in problems[0]
    assert "cases.jsonl:2: case 'b': no document 'hr/leaf.md'" in problems[1]
    assert "Did you mean 'hr/leave.md'?" in problems[1]
    assert "reads 'Holiday', not '30 days'" in problems[2]


def test_a_set_over_other_documents_is_told_without_comparing_every_name_with_every_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sought: list[str] = []
    monkeypatch.setattr(sets, "near", lambda word, known: sought.append(word) or "")  # counts: difflib is slow among many names
    a_set(tmp_path, *(a_line(f"c{number}", evidence=[], relevant_ids=[f"gone-{number}"]) for number in range(100)))
    assert len(load_golden(tmp_path, "tiny", sealed=False).check(CORPUS)) == 100
    assert len(sought) == sets.HINTS


def many(root: Path, count: int, **changes: object) -> None:
    a_set(root, *(a_line(f"case-{index}", **changes) for index in range(count)))


def test_the_splits_part_the_set_and_their_types_differ(tmp_path: Path) -> None:
    many(tmp_path, 200)
    golden = load_golden(tmp_path, "tiny", sealed=False)
    ledger = tmp_path / "looks.jsonl"
    tune, holdout = golden.tune(), golden.holdout(why="test", ledger=ledger)
    assert type(tune) is TuneSplit
    assert type(holdout) is HoldoutSplit
    ids = {case.id for case in tune.cases}
    assert ids.isdisjoint(case.id for case in holdout.cases)
    assert len(tune.cases) + len(holdout.cases) == 200
    assert 60 <= len(holdout.cases) <= 100
    assert json.loads(ledger.read_text())["why"] == "test"
    assert tune.digest != holdout.digest


def test_adding_cases_moves_none_to_the_other_split(tmp_path: Path) -> None:
    many(tmp_path, 100)
    before = {case.id for case in load_golden(tmp_path, "tiny", sealed=False).tune().cases}
    many(tmp_path, 150)
    after = {case.id for case in load_golden(tmp_path, "tiny", sealed=False).tune().cases}
    assert before == {ident for ident in after if int(ident.split("-")[1]) < 100}


def test_rewordings_of_one_question_share_a_split(tmp_path: Path) -> None:
    many(tmp_path, 60, group="same")
    golden = load_golden(tmp_path, "tiny", sealed=False)
    assert len(golden.tune().cases) in (0, 60)


def test_an_unknown_set_names_the_near_one(tmp_path: Path) -> None:
    a_set(tmp_path, a_line("a"))
    with pytest.raises(DataError, match="No golden set 'tiney/v1'. Did you mean 'tiny/v1'"):
        load_golden(tmp_path, "tiney/v1")


@pytest.mark.parametrize(
    "card",
    [
        "no front matter",
        "---\nname: tiny\nversion: 0\ncorpus: c\n---\n",
        "---\n[1\n---\n",
        "---\nname: 2024-13-45\n---\n",
        f"---\n{'[' * 5_000}\n---\n",
    ],
)
def test_a_card_without_its_facts_is_refused(tmp_path: Path, card: str) -> None:
    a_set(tmp_path, a_line("a"), card=card)
    with pytest.raises(DataError, match=r"CARD\.md"):
        load_golden(tmp_path, "tiny", sealed=False)
