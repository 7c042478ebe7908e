import json
from pathlib import Path
from typing import Any

import pytest

from harness.golden.formats import FORMATS, format_of
from harness.golden.formats.base import ReadOptions, SourceContents
from harness.golden.importing import ImportedSet, ImportOptions, import_golden
from harness.golden.lines import lines
from harness.golden.load import golden_sets, load_golden
from harness.golden.write import new_folders
from serving.pipeline.errors import ConfigError, DataError, StoreError
from serving.pipeline.index.corpus import load_corpus
from serving.pipeline.registry import Spec
from tests.support.world import World

DOCUMENTS = [
    {"id": "d1", "title": "Leave", "text": "Holiday is 30 days. Sick leave is 6 weeks.", "metadata": {"domain": "hr", "team": "people"}},
    {"id": "d2", "title": "Laptops", "text": "A laptop is replaced after 4 years.", "metadata": {"domain": "it"}},
]


def ask(ident: str, question: str, *relevant: str, answers: tuple[str, ...] = ("30 days",), **metadata: Any) -> dict[str, Any]:
    return {"id": ident, "question": question, "answers": list(answers), "relevant_ids": list(relevant), "metadata": metadata}


QUESTIONS = [ask("q1", "How long is the holiday?", "d1"), ask("q2", "When do I get a new laptop?", "d2", answers=("after 4 years",))]


def jsonl(path: Path, *rows: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join((row if isinstance(row, str) else json.dumps(row, ensure_ascii=False)) + "\n" for row in rows)
    path.write_text(text, encoding="utf-8")
    return path


def a_source(root: Path, *questions: object, documents: list[dict[str, Any]] = DOCUMENTS) -> Path:
    jsonl(root / "source" / "corpus.jsonl", *documents)
    jsonl(root / "source" / "golden.jsonl", *questions)
    return root / "source"


def read(source: Path, name: str = "", **options: Any) -> SourceContents:
    return FORMATS.build(Spec(name=format_of(source, name))).read(source, ReadOptions(**options))


def bring(root: Path, source: Path, name: str = "", **choice: Any) -> ImportedSet:
    return import_golden(root / "datasets", read(source, name), ImportOptions("mine", name or "?", **choice))


def test_questions_with_document_ids_become_a_sealed_set_with_its_corpus(tmp_path: Path) -> None:
    done = bring(tmp_path, a_source(tmp_path, *QUESTIONS))
    golden, corpus = load_golden(tmp_path / "datasets", "mine"), load_corpus(tmp_path / "datasets/corpora/mine")
    assert golden == done.golden
    assert [(case.id, case.relevant_ids, case.answers, case.domain) for case in golden.cases] == [
        ("q1", ("d1",), ("30 days",), "hr"),
        ("q2", ("d2",), ("after 4 years",), "it"),
    ]
    assert golden.cases[1].provenance == "import golden.jsonl:2"
    assert corpus.digest == load_corpus(tmp_path / "source/corpus.jsonl").digest
    assert golden.check(corpus) == []
    assert done.left_out == ()
    assert not list((tmp_path / "datasets").rglob(".*"))


def test_grades_in_the_metadata_become_grades_and_no_answer_means_retrieval_only(tmp_path: Path) -> None:
    source = a_source(tmp_path, ask("q1", "Which?", "d2", "d1", answers=(), grades={"d1": 1, "d2": 3}))
    case = bring(tmp_path, source).golden.cases[0]
    assert (case.relevant_ids, case.grades, case.scope) == (("d2", "d1"), (3, 1), "retrieval")


def test_a_document_graded_zero_is_judged_not_relevant(tmp_path: Path) -> None:
    done = bring(tmp_path, a_source(tmp_path, ask("q1", "Which?", "d2", "d1", answers=(), grades={"d1": 0, "d2": 1})))
    assert (done.golden.cases[0].relevant_ids, done.golden.cases[0].grades, done.left_out) == (("d2",), (), ())


def test_what_is_left_out_is_told_with_place_and_reason(tmp_path: Path) -> None:
    source = a_source(
        tmp_path,
        ask("q1", "How long is the holiday?", "d1", "gone", answers=("30 days", " ")),
        ask("q2", "Where is it?", "gone"),
        ask("q3", "How long is sick leave?", "d1", answers=("", "\t")),
        ask("q4", "How LONG is  the holiday", "d1"),
        ask("q5", "What is empty?", "d3"),
        documents=[*DOCUMENTS, {"id": "d3", "text": " "}],
    )
    done = bring(tmp_path, source)
    assert [case.id for case in done.golden.cases] == ["q1"]
    assert done.golden.cases[0].answers == ("30 days",)
    assert done.reasons == {
        "a relevant document that is not in the corpus": 3,
        "a case with no relevant document in the corpus": 2,
        "a document of the corpus, skipped: empty": 1,
        "an empty answer beside others": 1,
        "a case with empty answers": 1,
        "a case that asks the same as an earlier one": 1,
    }
    where = {one.reason: one.where for one in done.left_out}
    assert where["a case with empty answers"].endswith("golden.jsonl:3")
    assert "- 3 × a relevant document that is not in the corpus" in (done.golden.folder / "CARD.md").read_text()


def test_strict_leaves_nothing_out_and_writes_nothing(tmp_path: Path) -> None:
    source = a_source(tmp_path, *QUESTIONS, ask("q3", "Where is it?", "gone"))
    with pytest.raises(DataError, match=r"golden\.jsonl:3: a case with no relevant document in the corpus"):
        bring(tmp_path, source, strict=True)
    assert not list((tmp_path / "datasets").rglob("*.jsonl"))


def test_a_limit_keeps_the_first_cases_and_every_document(tmp_path: Path) -> None:
    done = bring(tmp_path, a_source(tmp_path, *QUESTIONS), limit=1)
    assert ([case.id for case in done.golden.cases], done.documents) == (["q1"], 2)


def test_the_domain_comes_from_the_named_key_of_case_or_document(tmp_path: Path) -> None:
    source = a_source(tmp_path, ask("q1", "How long?", "d1"), ask("q2", "When?", "d2", team="tools"))
    done = bring(tmp_path, source, domain_from="team")
    assert [case.domain for case in done.golden.cases] == ["people", "tools"]
    assert load_corpus(tmp_path / "datasets/corpora/mine").documents[0].domain == "people"
    with pytest.raises(ConfigError, match="--domain-from 'teem': no case or document has it. Did you mean 'team'"):
        import_golden(tmp_path / "other", read(source), ImportOptions("mine", "ids", domain_from="teem"))


def test_restrictions_of_documents_survive_the_import(tmp_path: Path) -> None:
    secret = {
        "id": "d1",
        "text": "The pay is 9.",
        "groups": ["board"],
        "tenant": "acme",
        "version": "2",
        "source": "pay.pdf",
        "metadata": {"a": "b"},
    }
    bring(tmp_path, a_source(tmp_path, ask("q1", "What is the pay?", "d1"), documents=[secret]))
    document = load_corpus(tmp_path / "datasets/corpora/mine").documents[0]
    assert (document.groups, document.tenant, document.version, document.source) == (("board",), "acme", "2", "pay.pdf")


def test_an_existing_set_or_corpus_is_never_overwritten(tmp_path: Path) -> None:
    source = a_source(tmp_path, *QUESTIONS)
    bring(tmp_path, source)
    before = (tmp_path / "datasets/golden/mine/v1/cases.jsonl").read_bytes()
    with pytest.raises(ConfigError, match="golden set 'mine/v1' already, and none is overwritten. Choose another --name"):
        bring(tmp_path, source, limit=1)
    assert (tmp_path / "datasets/golden/mine/v1/cases.jsonl").read_bytes() == before
    (tmp_path / "datasets/golden/mine").rename(tmp_path / "away")
    with pytest.raises(ConfigError, match="corpus 'mine' already.*--name.*--corpus mine"):
        bring(tmp_path, source)


def test_a_folder_that_cannot_be_made_leaves_nothing_behind(tmp_path: Path) -> None:
    source = a_source(tmp_path, *QUESTIONS)
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "corpora").write_text("a file where the folder should be")
    with pytest.raises(StoreError, match="could not be written"):
        bring(tmp_path, source)
    assert [path.name for path in (tmp_path / "datasets").rglob("*") if path.name != "golden"] == ["corpora"]


def test_of_two_folders_both_are_placed_or_none(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    with pytest.raises(DataError, match="two has appeared meanwhile"), new_folders(one, two) as drafts:
        for draft in drafts:
            (draft / "file").write_text("x")
        two.mkdir()
    assert list(tmp_path.iterdir()) == [two]
    with pytest.raises(KeyboardInterrupt), new_folders(one) as (draft,):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == [two]


def test_a_set_that_is_being_written_is_not_listed(tmp_path: Path) -> None:
    jsonl(tmp_path / "golden" / ".mine.1a2b" / "v1" / "cases.jsonl", {})
    assert golden_sets(tmp_path) == []


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{not json", r"golden\.jsonl:2: not JSON: .* at column 2"),
        ("[1, 2]", r"golden\.jsonl:2: an object"),
        ("[" * 100_000, r"golden\.jsonl:2: the JSON is nested too deep"),
        ('{"id": ' + "1" * 5000 + "}", r"golden\.jsonl:2: not JSON: Exceeds the limit"),
        ('{"id": "\x00"}', r"golden\.jsonl:2: not JSON: Invalid control character"),
        (ask("q\u0000", "What?", "d1"), r"golden\.jsonl:2: case id 'q\\x00' holds a control character"),
        (ask("q1", "What?", "d1"), r"golden\.jsonl:2: case id 'q1' stands in .*golden\.jsonl:1 already"),
        (ask("q2", " ", "d1"), r"golden\.jsonl:2: question: string should have at least 1 character"),
        ({"id": "q2", "qestion": "?", "relevant_ids": []}, r"golden\.jsonl:2: question: field required"),
        ({**QUESTIONS[1], "anwsers": []}, r"golden\.jsonl:2: unknown key 'anwsers'. Did you mean 'answers'"),
        ({**QUESTIONS[1], "relevant_ids": [7]}, r"golden\.jsonl:2: relevant_ids.0: .*string, not 7"),
        ('{"id": "q2", "question": "\\ud800", "relevant_ids": ["d1"]}', r"golden\.jsonl:2: question: .*'\\ud800'"),
        (ask("q2", "What?", "d1", grades={"d1": "high"}), r"golden\.jsonl:2: metadata\.grades"),
        (ask("q2", "What?", "d1", answerable=False), r"golden\.jsonl:2: .*an unanswerable case has no 'answers'"),
    ],
)
def test_a_malformed_line_stops_the_import_with_its_place(tmp_path: Path, line: object, words: str) -> None:
    source = a_source(tmp_path, QUESTIONS[0], line)
    with pytest.raises(DataError, match=words) as raised:
        bring(tmp_path, source, "ids")
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "datasets").exists()


def test_every_malformed_line_is_told_at_once(tmp_path: Path) -> None:
    source = a_source(tmp_path, QUESTIONS[0], "{", *QUESTIONS[1:], "nonsense")
    with pytest.raises(DataError) as raised:
        bring(tmp_path, source, "ids")
    assert [line.split("golden.jsonl:")[1][0] for line in str(raised.value).splitlines()] == ["2", "4"]


def test_a_file_that_is_not_utf8_is_named_with_its_line(tmp_path: Path) -> None:
    source = a_source(tmp_path, *QUESTIONS)
    (source / "golden.jsonl").write_bytes((source / "golden.jsonl").read_bytes() + b'{"id": "\xff"}\n')
    with pytest.raises(DataError, match=r"golden\.jsonl:3: not UTF-8 \(byte 9\)"):
        bring(tmp_path, source, "ids")


def test_a_byte_order_mark_and_carriage_returns_are_no_part_of_the_lines(tmp_path: Path) -> None:
    source = a_source(tmp_path, *QUESTIONS)
    path = source / "golden.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert [case.id for case in bring(tmp_path, source).golden.cases] == ["q1", "q2"]


def test_a_malformed_document_is_named_by_its_line(tmp_path: Path) -> None:
    source = a_source(tmp_path, *QUESTIONS)
    for line in ('{"id": ' + "1" * 5000 + "}", "[" * 100_000, '{"id": "d3", "text": 7}'):
        jsonl(source / "corpus.jsonl", DOCUMENTS[0], line)
        with pytest.raises(DataError, match=r"corpus\.jsonl:2: ") as raised:
            bring(tmp_path, source)
        assert "\n" not in str(raised.value)


def test_a_file_or_line_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = jsonl(tmp_path / "x.jsonl", {"id": "a"}, {"id": "b" * 100})
    monkeypatch.setattr("harness.golden.lines.LINE_BYTES", 50)  # the bounds are constants; a file of their size would be no quick test
    with pytest.raises(DataError, match=r"x\.jsonl:2: is longer than"):
        list(lines(path))
    monkeypatch.setattr("harness.golden.lines.FILE_BYTES", 60)
    with pytest.raises(DataError, match=r"x\.jsonl: has .* at most .* are read"):
        list(lines(path))


def test_control_characters_do_not_reach_the_set(tmp_path: Path) -> None:
    source = a_source(tmp_path, ask("q1", "How\x1b[31m long\x00 is it?", "d1", answers=("30\x07 days",)))
    case = bring(tmp_path, source).golden.cases[0]
    assert (case.question, case.answers) == ("How [31m long  is it?", ("30  days",))


def test_own_cases_keep_every_field_and_their_quotes_are_located(tmp_path: Path) -> None:
    quote = {"document": "d1", "quote": "Sick leave is 6 weeks"}
    own = {"id": "c1", "question": "How long is sick leave?", "answers": ["6 weeks"], "evidence": [quote], "key_facts": ["6 weeks"]}
    source = a_source(tmp_path, {**own, "domain": "people", "kind": "temporal", "difficulty": "hard", "group": "g"})
    assert format_of(source) == "cases"
    case = bring(tmp_path, source).golden.cases[0]
    assert (case.evidence[0].start, case.evidence[0].end) == (20, 41)
    assert (case.domain, case.kind, case.difficulty, case.group, case.key_facts) == ("people", "temporal", "hard", "g", ("6 weeks",))


def test_an_own_case_whose_quote_is_not_there_is_a_malformed_line(tmp_path: Path) -> None:
    own = {"id": "c1", "question": "?!", "answers": ["x"], "evidence": [{"document": "d1", "quote": "9 weeks"}]}
    with pytest.raises(DataError, match=r"golden\.jsonl:1: the quote '9 weeks' stands 0 times in 'd1'"):
        bring(tmp_path, a_source(tmp_path, own))


def test_spans_in_the_metadata_become_evidence_and_wrong_ones_are_left_out(tmp_path: Path) -> None:
    right, wrong = {"start": 0, "end": 18, "text": "Holiday is 30 days"}, {"start": 3, "end": 9, "text": "Sick leave"}
    source = a_source(
        tmp_path,
        ask("q1", "How long is it?", "passage-7", answers=(), doc="d1", evidence=[right, wrong]),
        ask("q2", "How long is sick leave?", answers=(), doc="d1", evidence=[wrong]),
    )
    assert format_of(source) == "spans"
    done = bring(tmp_path, source)
    assert [(case.evidence[0].quote, case.scope) for case in done.golden.cases] == [("Holiday is 30 days", "retrieval")]
    assert done.reasons == {"evidence that does not stand where it is said to": 2, "a case with no relevant document in the corpus": 1}


def a_beir(root: Path, *, qrels: dict[str, str] | None = None) -> Path:
    source = root / "beir"
    jsonl(source / "corpus.jsonl", *({"_id": row["id"], "title": row["title"], "text": row["text"]} for row in DOCUMENTS))
    jsonl(
        source / "queries.jsonl",
        *({"_id": f"q{n}", "text": text, "metadata": {}} for n, text in enumerate(("Holiday?", "Laptop?", "Car?"))),
    )
    files = qrels or {"test": "query-id\tcorpus-id\tscore\r\nq0\td1\t2\r\nq0\td2\t1\r\nq1\td2\t1\r\nq1\td1\t0\r\nq9\td1\t1\r\n"}
    for name, text in files.items():
        (source / "qrels").mkdir(exist_ok=True)
        (source / "qrels" / f"{name}.tsv").write_bytes(text.encode())
    return source


def test_beir_gives_graded_cases_for_the_judged_queries(tmp_path: Path) -> None:
    source = a_beir(tmp_path)
    assert format_of(source) == "beir"
    done = bring(tmp_path, source)
    assert [(case.id, case.relevant_ids, case.grades, case.scope) for case in done.golden.cases] == [
        ("q0", ("d1", "d2"), (2, 1), "retrieval"),
        ("q1", ("d2",), (), "retrieval"),
    ]
    assert done.notes == ("1 queries are not judged in qrels/test.tsv",)
    assert done.reasons == {"a judged query that is not in queries.jsonl": 1}
    assert load_corpus(tmp_path / "datasets/corpora/mine").documents[1].title == "Laptops"


def test_beir_with_several_qrels_asks_which(tmp_path: Path) -> None:
    source = a_beir(tmp_path, qrels={"dev": "q0\td1\t1\n", "test": "q1\td2\t1\n"})
    with pytest.raises(ConfigError, match=r"which file of qrels/\? Name one: --split-file test. Known: dev, test"):
        read(source)
    with pytest.raises(ConfigError, match=r"no qrels/tset\.tsv. Did you mean 'test'"):
        read(source, split_file="tset")
    assert [draft.id for draft in read(source, split_file="dev").drafts] == ["q0"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("q0 d1 1", r"test\.tsv:1: query-id, corpus-id and a whole score between tabs"),
        ("q0\td1\tx\nq0\td1\t2", r"test\.tsv:1: "),
        ("q0\td1\t1\nq0\td1\t2", r"test\.tsv:2: document 'd1' is judged twice for query 'q0'"),
        ("q0\td1\t1" + "0" * 5000, r"test\.tsv:1: "),
    ],
)
def test_a_malformed_judgement_is_named_by_its_line(tmp_path: Path, line: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        read(a_beir(tmp_path, qrels={"test": line + "\n"}))


CONTEXT = "The Rhine is 1,233 km long. It ends in the North Sea."


def a_squad(root: Path, *qas: object, title: str = "River_Rhine", context: str = CONTEXT) -> Path:
    path = root / "squad.json"
    path.write_text(json.dumps({"version": "v2.0", "data": [{"title": title, "paragraphs": [{"context": context, "qas": list(qas)}]}]}))
    return path


def test_squad_gives_evidence_where_the_answer_stands_and_refusals(tmp_path: Path) -> None:
    answers = [{"text": "1,233 km long", "answer_start": 13}, {"text": "1,233 km", "answer_start": 13}]
    path = a_squad(
        tmp_path,
        {"id": "a", "question": "How long is the Rhine?", "answers": answers, "is_impossible": False},
        {"id": "b", "question": "How deep is the Rhine?", "answers": [], "plausible_answers": answers, "is_impossible": True},
        {"id": "c", "question": "Where does it end?", "answers": [{"text": "North Sea", "answer_start": 3}]},
    )
    assert format_of(path) == "squad"
    done = bring(tmp_path, path, domain_from="title")
    long, deep = done.golden.cases
    assert [(one.document, one.quote, one.start, one.end) for one in long.evidence] == [("River_Rhine#001", "1,233 km", 13, 21)]
    assert (long.answers, long.domain) == (("1,233 km long", "1,233 km"), "River_Rhine")
    assert (deep.answerable, deep.kind, deep.answers) == (False, "unanswerable", ())
    corpus = load_corpus(tmp_path / "datasets/corpora/mine")
    assert [(one.id, one.title, one.text) for one in corpus.documents] == [("River_Rhine#001", "River Rhine", CONTEXT)]
    assert done.golden.check(corpus) == []
    assert done.reasons["evidence that does not stand where it is said to"] == 1


def test_squad_version_one_has_no_flag_and_a_repeated_paragraph_is_one_document(tmp_path: Path) -> None:
    one = {"context": CONTEXT, "qas": [{"id": "a", "question": "How long?", "answers": [{"text": "1,233 km", "answer_start": 13}]}]}
    two = {
        "context": CONTEXT,
        "qas": [{"id": "b", "question": "Where does it end?", "answers": [{"text": "North Sea", "answer_start": 43}]}],
    }
    (tmp_path / "v1.json").write_text(json.dumps({"data": [{"title": "Rhine", "paragraphs": [one, two]}], "version": "1.1"}))
    done = bring(tmp_path, tmp_path / "v1.json")
    assert (len(done.golden.cases), done.documents) == (2, 1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            '{"data": [{"paragraphs": [{"context": "x", "qas": [{"id": 7, "question": "?"}]}]}]}',
            r"data\[0\]\.paragraphs\[0\]\.qas\[0\]\.id",
        ),
        ('{"data": [],\n "paragraphs" "context"', r"squad\.json:2: not JSON"),
        ('{"data": [], "paragraphs": "context"}', r"squad\.json: holds no question"),
        ("[" * 200_000, r"squad\.json: the JSON is nested too deep"),
    ],
)
def test_a_malformed_squad_file_is_one_line(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "squad.json").write_text(text)
    with pytest.raises(DataError, match=words):
        read(tmp_path / "squad.json", "squad")


def test_an_unclear_source_says_what_to_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No file or folder 'nowhere'"):
        format_of(Path("nowhere"))
    with pytest.raises(ConfigError, match="Name a source too: import beir SOURCE"):
        format_of(Path("beir"))
    source = jsonl(tmp_path / "odd.jsonl", {"text": "x"})
    with pytest.raises(ConfigError, match="has the shape of no known format. Name the format: import FORMAT SOURCE. Known: cases, ids"):
        format_of(source)
    with pytest.raises(ConfigError, match='Its first line has text; a line of cases is {"id": …, "question": …'):
        format_of(source)
    with pytest.raises(ConfigError, match="No golden format 'biers'. Did you mean 'beir'"):
        format_of(source, "biers")
    both = a_source(tmp_path, *QUESTIONS)
    jsonl(both / "queries.jsonl", {"_id": "q"})
    (both / "qrels").mkdir()
    with pytest.raises(ConfigError, match="fits ids and beir. Name the format"):
        format_of(both)


def test_documents_may_come_from_elsewhere_and_their_absence_names_the_option(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "alone" / "golden.jsonl", *QUESTIONS)
    with pytest.raises(ConfigError, match=r"no corpus\.jsonl beside it. Name the documents: --corpus"):
        read(path)
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "d1").with_suffix(".txt").write_text("Holiday is 30 days.")
    found = read(path, corpus=load_corpus(folder))
    assert [document.id for document in found.corpus.documents] == ["d1.txt"]


def test_a_user_imports_checks_shows_and_evaluates(world: World) -> None:
    source = a_source(
        world.root, *QUESTIONS, ask("q3", "For how long is sick leave?", "d1", answers=("6 weeks",)), ask("q4", "Which?", "gone")
    )
    said = world.touchstone("golden", "import", str(source), "--name", "mine", "--json")
    assert said.code == 0, said.err
    assert isinstance(said.json, dict)
    assert (said.json["golden"], said.json["cases"], said.json["documents"], said.json["format"]) == ("mine/v1", 3, 2, "ids")
    assert said.json["left_out"][0]["where"].endswith("golden.jsonl:4")
    again = world.touchstone("golden", "import", "ids", str(source), "--name", "mine")
    assert again.code == 2
    assert "--name" in again.err
    assert world.touchstone("golden", "check", "mine", "--embedder", "local:hashing").code == 0
    assert "d1" in world.touchstone("golden", "show", "mine").out
    said = world.touchstone("eval", "-g", "mine", "-c", "tiny.yaml", "--split", "all", "--no-tracking", "--json")
    assert said.code == 0, said.err
    assert isinstance(said.json, dict)
    assert said.json["numbers"]["doc_recall@5"] == 1.0
    assert world.touchstone("golden", "import", "a", "b", "c", "--name", "x").code == 2


def test_a_set_over_a_known_corpus_shares_it(world: World) -> None:
    path = jsonl(
        world.root / "more.jsonl", ask("n1", "How many days of holiday?", "hr/leave.md"), ask("n2", "Who may travel?", "it/vpn.md")
    )
    said = world.touchstone("golden", "import", "more.jsonl", "--name", "more", "--corpus", "tiny")
    assert said.code == 0, said.err
    assert load_golden(world.root / "datasets", "more").card.corpus == "tiny"
    assert not (world.root / "datasets/corpora/more").exists()
    said = world.touchstone("golden", "import", str(path), "--name", "copied", "--corpus", str(world.root / "datasets/corpora/tiny"))
    assert said.code == 0, said.err
    assert load_golden(world.root / "datasets", "copied").card.corpus == "copied"
    assert load_golden(world.root / "datasets", "copied").check(load_corpus(world.root / "datasets/corpora/copied")) == []


def test_an_evaluation_on_an_empty_split_is_one_line_and_exit_two(world: World) -> None:
    source = a_source(world.root, QUESTIONS[0])
    assert world.touchstone("golden", "import", str(source), "--name", "one").code == 0
    golden = load_golden(world.root / "datasets", "one")
    empty = "holdout" if golden.split_of(golden.cases[0]) == "tune" else "tune"
    said = world.touchstone("eval", "-g", "one", "-c", "tiny.yaml", "--split", empty, "--no-tracking")
    assert said.code == 2
    assert f"The {empty} split of one/v1 has no cases" in said.err
    assert "Traceback" not in said.err
    said = world.touchstone("golden", "check", "one", "--embedder", "none")
    assert said.code == 2
    assert f"one/v1: the {empty} split has no cases" in said.err
