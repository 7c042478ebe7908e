"""Agreement with humans: numbers worked by hand, files of labels, records, the command."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from harness.judges import connect_judge
from harness.judges.agreement import Agreement, agreement
from harness.judges.calibration import MIN_QUESTIONS, Calibration, calibrated, calibrations, record, save, why_not
from harness.judges.kappa import alpha, confusion, kappa, kappa_interval, per_class
from harness.judges.labelled import LabelledQuestion, read_labelled
from harness.judges.tasks import Tasks
from serving.pipeline.errors import DataError, ModelError
from serving.pipeline.prompts import PromptLibrary
from serving.pipeline.registry import Spec
from serving.pipeline.settings import PipelineSettings
from tests.support.world import REPOSITORY, World

PROMPTS = PromptLibrary(REPOSITORY / "prompts")
TASKS = Tasks(PROMPTS.folder)
N = None


def table(*rows: tuple[int, ...]) -> Any:
    """Labels for two raters that make this table."""
    names = "abcdef"[: len(rows)]
    pairs = [(names[i], names[j]) for i, row in enumerate(rows) for j, count in enumerate(row) for _ in range(count)]
    return confusion([one for one, _ in pairs], [other for _, other in pairs], names)


# ── numbers ──


def test_kappa_equals_the_number_worked_by_hand() -> None:
    # two readers of 50 grants: 20 yes/yes, 5 yes/no, 10 no/yes, 15 no/no: observed .7, by chance .5*.6 + .5*.4 = .5
    assert kappa(table((20, 5), (10, 15))) == pytest.approx((0.7 - 0.5) / (1 - 0.5))
    # three labels: observed (8+5+4)/24, by chance (10*11 + 8*7 + 6*6)/24²
    counts = table((8, 1, 1), (2, 5, 1), (1, 1, 4))
    chance = (10 * 11 + 8 * 7 + 6 * 6) / 24**2
    assert kappa(counts) == pytest.approx((17 / 24 - chance) / (1 - chance))
    assert kappa(table((5, 0), (0, 5))) == pytest.approx(1.0)
    assert kappa(table((0, 5), (5, 0))) == pytest.approx(-1.0)


def test_kappa_is_undefined_where_everything_has_one_label() -> None:
    assert kappa(table((7, 0), (0, 0))) is None
    assert kappa(table((0, 0), (0, 0))) is None
    interval = kappa_interval(table((7, 0), (0, 0)))
    assert (interval.mean, interval.low, interval.high, interval.count) == (None, None, None, 7)


def test_kappas_interval_is_that_of_the_large_sample_formula_and_always_the_same() -> None:
    counts = table((400, 100), (200, 300))
    interval = kappa_interval(counts)
    assert interval.mean == pytest.approx(0.4)
    # Fleiss, Cohen and Everitt: Σpᵢᵢ[1-(pᵢ.+p.ᵢ)(1-κ)]² + (1-κ)²Σpᵢⱼ(p.ᵢ+pⱼ.)² - [κ-pₑ(1-κ)]², over n(1-pₑ)²
    p, n, k, rows, columns = counts / 1000, 1000, 0.4, (0.5, 0.5), (0.6, 0.4)
    same = sum(p[i, i] * (1 - (rows[i] + columns[i]) * (1 - k)) ** 2 for i in (0, 1))
    other = (1 - k) ** 2 * sum(p[i, j] * (columns[i] + rows[j]) ** 2 for i in (0, 1) for j in (0, 1) if i != j)
    error = ((same + other - (k - 0.5 * (1 - k)) ** 2) / (n * 0.25)) ** 0.5
    assert interval.low == pytest.approx(0.4 - 1.96 * error, abs=0.005)
    assert interval.high == pytest.approx(0.4 + 1.96 * error, abs=0.005)
    assert kappa_interval(counts) == interval


def test_alpha_equals_the_textbook_example() -> None:
    # Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", C: four observers, twelve units, missing ones
    raters = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, N, N, N],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, N, 3],
        [N, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, N],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, N],
    ]
    named = [[None if one is None else str(one) for one in row] for row in raters]
    labels = ("1", "2", "3", "4", "5")
    assert alpha(named, labels, ordered=False) == pytest.approx(0.743, abs=0.0005)
    assert alpha(named, labels, ordered=True) == pytest.approx(0.815, abs=0.0005)


def test_alpha_of_two_raters_equals_the_number_worked_by_hand() -> None:
    # 4 cases, one disagreement, values a a b b against a a b a: nominal alpha = 1 - (n-1)·Dₒ/Dₑ = 1 - 7·2/(2·5·3)
    assert alpha([list("aabb"), list("aaba")], "ab", ordered=False) == pytest.approx(1 - 7 * 2 / 30)
    assert alpha([list("aaaa"), list("aaaa")], "ab", ordered=False) is None
    assert alpha([["a", None], [None, "b"]], "ab", ordered=False) is None


def test_precision_recall_and_f1_are_per_label_and_a_share_of_nothing_is_none() -> None:
    first, second, third = per_class(table((3, 1, 0), (2, 4, 0), (0, 0, 0)), ("a", "b", "c"))
    assert (first.precision, first.recall, first.f1, first.count) == (3 / 5, 3 / 4, pytest.approx(2 * 0.6 * 0.75 / 1.35), 4)
    assert (second.precision, second.recall) == (4 / 5, 4 / 6)
    assert (third.precision, third.recall, third.f1, third.count) == (None, None, None, 0)


# ── files ──

GOOD = {"task": "relevance", "values": {"question": "When?", "answer": "Now."}, "label": "relevant"}


def written(tmp_path: Path, *lines: object) -> Path:
    path = tmp_path / "labels.jsonl"
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def test_a_file_is_read_by_task_with_lists_numbered_and_the_majority_counting(tmp_path: Path) -> None:
    listed = {
        "task": "groundedness",
        "values": {"answer": "x", "passages": ["One.", "Two."]},
        "labels": ["partial", None, "partial", "supported"],
    }
    found = read_labelled(written(tmp_path, GOOD, "", listed), TASKS)
    assert list(found.by_task) == ["groundedness", "relevance"]
    (row,) = found.by_task["groundedness"]
    assert row.values["passages"] == "[1] One.\n\n[2] Two."
    assert (row.id, row.label, row.humans) == ("3", "partial", ("partial", None, "partial", "supported"))
    assert found.chosen("relevance").keys() == {"relevance"}
    with pytest.raises(DataError, match="no line of the task 'bias'. It has: groundedness, relevance"):
        found.chosen("bias")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "nested too deep"),
        ("[]", "an object {…} is needed"),
        ("1" * 5_000, "not JSON"),
        (GOOD | {"label": "partial"}, "this is asked in line 1 already"),
        (GOOD | {"lable": "relevant"}, "unknown key 'lable'. Did you mean 'label'"),
        (GOOD | {"task": "relevanse"}, "no task 'relevanse'. Did you mean 'relevance'"),
        (GOOD | {"task": "again"}, "no task 'again'"),
        (GOOD | {"label": "relevent"}, "'relevent' is no label of relevance. Did you mean 'relevant'"),
        (GOOD | {"labels": ["relevant", "good"]}, "'good' is no label of relevance"),
        (GOOD | {"values": {"question": "x"}}, "needs answer"),
        (GOOD | {"values": {"question": "x", "answer": "y", "passages": "z"}}, "no variable 'passages'"),
        (GOOD | {"values": {"question": "x", "answer": 5}}, "values.answer"),
        (GOOD | {"label": None}, "neither 'label' nor 'labels'"),
        (GOOD | {"label": None, "labels": ["relevant", "irrelevant"]}, "the humans are split (relevant, irrelevant)"),
    ],
)
def test_what_is_wrong_with_a_file_is_named_with_its_line(tmp_path: Path, line: object, said: str) -> None:
    with pytest.raises(DataError) as error:
        read_labelled(written(tmp_path, GOOD, line), TASKS)
    assert "labels.jsonl:2: " in str(error.value)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_an_empty_or_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no lines"):
        read_labelled(written(tmp_path), TASKS)
    with pytest.raises(DataError, match="No file"):
        read_labelled(tmp_path / "none.jsonl", TASKS)


def test_every_bad_line_is_named_and_a_mark_at_the_start_is_none(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(read_labelled(path, TASKS).by_task["relevance"]) == 1
    path.write_bytes(path.read_bytes() + b'{"task": 1}\n\xff\n')
    with pytest.raises(DataError, match=r"(?s)labels\.jsonl:2: .*labels\.jsonl:3: not UTF-8"):
        read_labelled(path, TASKS)


# ── a judge against humans ──


def rows(*pairs: tuple[str, str | None], humans: tuple[str | None, ...] = ()) -> list[LabelledQuestion]:
    """Questions whose answer names what the scripted judge will say, each with its true label."""
    return [LabelledQuestion(f"q{at}", {"question": "?", "answer": f"say {said}"}, true, humans) for at, (true, said) in enumerate(pairs)]


def measured(questions: list[LabelledQuestion], **changes: Any) -> Agreement:
    rules = [{"holds": f"say {label}", "label": label} for label in TASKS.get("relevance").labels] + [
        {"holds": "say None", "reason": "mumbled"}
    ]
    spec = Spec.model_validate({"name": "scripted", "rules": rules} | changes)
    judge = connect_judge(spec, PipelineSettings(_env_file=None), PROMPTS)
    return asyncio.run(agreement(judge, TASKS.get("relevance"), questions))


def test_a_judge_is_counted_over_its_verdicts_and_the_others_are_told() -> None:
    found = measured(rows(("relevant", "relevant"), ("relevant", "irrelevant"), ("irrelevant", "irrelevant"), ("partial", None)))
    assert found.n == 3
    assert found.accuracy.mean == pytest.approx(2 / 3)
    # Wilson for 2 of 3: centre (2/3 + z²/6)/(1 + z²/3), z = 1.96
    z = 1.959964
    centre, spread = (2 / 3 + z**2 / 6) / (1 + z**2 / 3), z / (1 + z**2 / 3) * (2 / 9 / 3 + z**2 / 36) ** 0.5
    assert (found.accuracy.low, found.accuracy.high) == (pytest.approx(centre - spread), pytest.approx(centre + spread))
    assert [(one.id, one.reason) for one in found.unscored] == [("q3", "mumbled")]
    assert found.confusion == ((1, 0, 0), (0, 0, 0), (1, 0, 1))
    assert found.humans is None
    assert found.level == "ordinal"


def test_a_judge_without_a_single_verdict_has_no_numbers() -> None:
    found = measured(rows(("relevant", None)))
    assert (found.n, found.accuracy.mean, found.kappa.mean, found.alpha) == (0, None, None, None)


def test_humans_are_held_against_each_other() -> None:
    questions = rows(("relevant", "relevant"), humans=("relevant", "relevant", "partial"))
    questions += rows(("partial", "partial"), humans=("partial", None, "partial")) + rows(("partial", "partial"), humans=("partial",))
    humans = measured(questions).humans
    assert humans is not None
    assert (humans.raters, humans.cases, humans.same) == (3, 2, pytest.approx(2 / 4))
    # values that can be paired: r r p, p p; disagreement 2·2/2 = 2, by chance 2·(2·3)/4 = 3 (one step only, so its size cancels out)
    assert humans.alpha == pytest.approx(1 - 2 / 3)


def test_an_outage_ends_the_measurement() -> None:
    with pytest.raises(ModelError):
        measured(rows(("relevant", "relevant"), ("partial", "partial")), rules=[{"outage": True}])


# ── records ──


def calibration(**changes: Any) -> Calibration:
    fields = {"judge": "llm:a:b/c", "judge_id": "id1", "task": "relevance", "n": 80, "accuracy": 0.9, "accuracy_interval": (0.8, 0.95)}
    fields |= {"kappa": 0.8, "kappa_interval": (0.6, 0.9), "alpha": 0.8, "file": "f.jsonl", "sha256": "0" * 64, "date": "2026-01-01"}
    return Calibration.model_validate(fields | changes)


def test_a_record_says_what_was_measured_on_what_and_reads_back(tmp_path: Path) -> None:
    found = measured(rows(*[("relevant", "relevant"), ("partial", "irrelevant")] * 30, ("relevant", None)))
    kept = record(found, file=Path("somewhere/labels.jsonl"), sha256="ab" * 32, date="2026-01-01")
    save(kept, tmp_path)
    assert calibrations(tmp_path) == [kept]
    assert (kept.n, kept.unscored, kept.accuracy, kept.alpha_level, kept.file) == (60, 1, 0.5, "ordinal", "labels.jsonl")


def test_a_judge_may_decide_with_enough_cases_and_enough_agreement(tmp_path: Path) -> None:
    path = save(calibration(), tmp_path)
    assert path.name == "llm-a-b-c-relevance.yaml"
    assert calibrated("id1", "relevance", tmp_path) == calibration()
    assert why_not("id1", "relevance", tmp_path) == ""
    assert calibrated("id2", "relevance", tmp_path) is None
    assert calibrated("id1", "bias", tmp_path) is None
    assert "no agreement with humans on bias is on record" in why_not("id1", "bias", tmp_path)
    assert calibrated("id1", "relevance", tmp_path / "none") is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"n": MIN_QUESTIONS - 1}, "49 questions with a verdict, 50 are needed"),
        ({"kappa": 0.5, "kappa_interval": (0.39, 0.6)}, "kappa 0.50 with lower bound 0.39, 0.4 is needed"),
        ({"kappa": None, "kappa_interval": None}, "kappa is undefined"),
    ],
)
def test_a_judge_that_falls_short_may_not_decide(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    save(calibration(**changes), tmp_path)
    assert calibrated("id1", "relevance", tmp_path) is None
    assert said in why_not("id1", "relevance", tmp_path)


@pytest.mark.parametrize("text", ["judge: [", "judge: local\n", "[]", "judge: local\nn: many\n"])
def test_a_broken_record_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(DataError, match=r"x\.yaml"):
        calibrated("id1", "relevance", tmp_path)


# ── the command ──


def claims(world: World, count: int = 60) -> str:
    """Claims of a small company, every third of them made up."""
    texts = ["A laptop is replaced after {} years.", "Hotels are paid up to {} EUR a night."]
    lines = []
    for at in range(count):
        sentence, wrong = texts[at % 2].format(at + 10), at % 3 == 0
        answer = "Every football match in Lisbon ended early." if wrong else sentence
        label = "unsupported" if wrong else "supported"
        lines.append({"task": "groundedness", "values": {"answer": answer, "passages": sentence}, "label": label})
    (world.root / "claims.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return "claims.jsonl"


def test_the_command_prints_every_number_and_keeps_a_record_when_asked(world: World) -> None:
    said = world.touchstone("judge", "agreement", claims(world))
    assert said.code == 0, said.err
    for words in (
        "60 judged, 0 unscored",
        "accuracy  1.000  [0.940, 1.000]",
        "kappa     1.000",
        "alpha     1.000",
        "precision",
        "may decide",
    ):
        assert words in said.out
    assert not (world.root / "experiments").exists()

    kept = world.touchstone("judge", "agreement", "claims.jsonl", "--save")
    assert "experiments/calibration/local-groundedness.yaml" in kept.out
    (one,) = calibrations(world.root / "experiments" / "calibration")
    assert calibrated(one.judge_id, "groundedness", world.root / "experiments" / "calibration") == one
    assert "local on groundedness" in world.touchstone("judge", "list").out


def test_the_commands_json_holds_what_the_text_says(world: World) -> None:
    said = world.touchstone("judge", "agreement", claims(world, 9), "--json", "--task", "groundedness")
    assert isinstance(said.json, list)
    (found,) = said.json
    assert (found["n"], found["accuracy"]["mean"], found["shortfall"], found["saved"]) == (
        9,
        1.0,
        "9 questions with a verdict, 50 are needed",
        None,
    )


def test_a_file_of_several_tasks_is_measured_task_by_task(world: World) -> None:
    correct = {"task": "correctness", "values": {"question": "?", "answer": "4 years", "reference": "4 years"}, "label": "correct"}
    with (world.root / claims(world, 6)).open("a") as file:
        file.write(
            json.dumps(correct) + "\n" + json.dumps(correct | {"task": "coherence", "values": {"answer": "x"}, "label": "coherent"}) + "\n"
        )
    said = world.touchstone("judge", "agreement", "claims.jsonl")
    assert said.out.index("coherence: local") < said.out.index("correctness: local") < said.out.index("groundedness: local")
    assert "unscored 1: the local judge has no rule for coherence" in said.out


def test_what_a_judge_is_asked_can_be_seen(world: World) -> None:
    assert "never instructions" in world.touchstone("judge", "show", "bias").out
    shown = world.touchstone("judge", "show", "bias", "--json").json
    assert isinstance(shown, dict)
    assert shown["values"] == {"fair": 0.0, "borderline": 0.5, "biased": 1.0}
    listed = world.touchstone("judge", "list", "--json").json
    assert isinstance(listed, dict)
    assert len(listed["tasks"]) == 8
    assert world.touchstone("judge", "show", "bais").err == (
        "touchstone: No judge task 'bais'. Did you mean 'bias'? Known: " + ", ".join(TASKS.names()) + ".\n"
    )


@pytest.mark.parametrize(
    "arguments",
    [["none.jsonl"], ["claims.jsonl", "--task", "bias"], ["claims.jsonl", "--judge", "locl"], ["claims.jsonl", "--repeats", "3"]],
)
def test_the_users_mistakes_are_one_line_and_exit_code_2(world: World, arguments: list[str]) -> None:
    claims(world)
    said = world.touchstone("judge", "agreement", *arguments)
    assert (said.code, said.err.count("\n"), said.out) == (2, 1, "")
