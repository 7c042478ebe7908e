import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from harness.comparison.pairs import compare_metric
from harness.reports import write_evaluation, write_sweep
from harness.results.case_result import CaseError, CaseResult
from harness.results.header import Header
from harness.results.report import EvalReport
from harness.results.score import Score
from harness.results.timing import TimingComparison
from harness.sweep.experiment import Experiment
from harness.sweep.finalist import Finalist, combined_outcome
from harness.sweep.trial import Trial
from harness.sweep.verdict import SweepResult, choose
from serving.pipeline.config import RagConfig
from serving.pipeline.types import Usage
from tests.support.making import a_case, a_hit, a_trace

CONFIG = RagConfig.parse({})


def a_report(values: Sequence[float | None], *, usd: float | None = 0.001, direction: str = "higher") -> EvalReport:
    """Cases on a document each."""
    usage = Usage("m", 10, 5, usd or 0.0, priced=usd is not None)
    trace = replace(a_trace(a_hit(0, 50), answer="<b>x</b>"), usage=(usage,))
    cases = [a_case(id=f"c{i}", evidence=[], relevant_ids=[f"d{i}"]) for i in range(len(values))]
    rows = [
        CaseResult(case, (Score("quality", value, "" if value is not None else "?"),), trace)
        for case, value in zip(cases, values, strict=True)
    ]
    about = ("c", "i", "k", "t/v1", "g", "holdout", "s", ("quality",))
    header = Header(CONFIG.model_dump(mode="json"), *about, directions={"quality": direction})
    return EvalReport(header, tuple(rows))


def finalists(*reports: EvalReport, timing: dict[int, TimingComparison] | None = None, margin: float = 0.02) -> list[Finalist]:
    base, *others = reports
    against = [None, *(compare_metric(base, other, "quality", margin=margin, among=len(others)) for other in others)]
    return [
        Finalist(
            Trial(
                n, {"retrieve.top_k": n} if n else {}, CONFIG, report, (report.mean("quality") or 0.0,), f"r{n}", label="" if n else "base"
            ),
            report,
            against[n],
            (timing or {}).get(n),
        )
        for n, report in enumerate(reports)
    ]


def times(low: float, high: float) -> TimingComparison:
    return TimingComparison(30, 100.0, 100.0 * (low * high) ** 0.5, (low * high) ** 0.5, low, high)


LOW, HIGH = [0.2, 0.3, 0.4] * 20, [0.7, 0.8, 0.9] * 20
MANY = [0.7, 0.8, 0.9] * 100  # so many cases rule out a loss of 0.02 where nothing moves


def test_a_clearly_better_finalist_wins() -> None:
    choice = choose(finalists(a_report(LOW), a_report(HIGH)), "quality")
    assert choice.winner.trial.number == 1
    assert "Better than the base" in choice.reason
    assert "+0.500" in choice.reason


def test_when_everything_is_worse_the_base_stays() -> None:
    found = finalists(a_report(HIGH), a_report(LOW, usd=0.0001))
    choice = choose(found, "quality")
    assert choice.winner is found[0]
    assert choice.reason.startswith("The base stays: every finalist is worse. The nearest is trial 1, quality -0.500 [")
    assert combined_outcome(found[1:]) == "worse"


def test_a_cheaper_prompt_that_lost_four_in_five_of_fourteen_questions_does_not_ship() -> None:
    # the incumbent answers all of 14 questions, the cheapest finalist three of them: seen in a first hour with the tool
    right, wrong = [1.0] * 14, [1.0] * 3 + [0.0] * 11
    found = finalists(a_report(right, usd=0.002), a_report([1.0] * 13 + [0.0], usd=0.0019), a_report(wrong, usd=0.0005))
    choice = choose(found, "quality")
    assert choice.winner is found[0]
    assert [one.against.outcome for one in found if one.against] == ["undecided", "worse"]
    assert "Undecided, so the base stays" in choice.reason
    shown = r"14 cases show no difference below about 0\.\d+ at the spread seen here"
    assert re.search(shown + r"; .* takes about [\d,]+ cases\.", choice.reason)


def test_on_five_questions_not_even_the_loss_of_most_of_them_is_decided_and_nothing_ships() -> None:
    found = finalists(a_report([1.0] * 5, usd=0.002), a_report([0.2] * 5, usd=0.0005))
    choice = choose(found, "quality")
    assert (choice.winner, combined_outcome(found[1:])) == (found[0], "undecided")
    against = found[1].against
    assert against is not None and against.low >= -1.0 and against.high <= 1.0
    assert "5 cases show no difference below about 0.9" in choice.reason


def test_not_seen_to_differ_is_not_equal() -> None:
    same = finalists(a_report(HIGH, usd=0.002), a_report(HIGH, usd=0.001))
    choice = choose(same, "quality")
    assert choice.winner is same[0]  # 60 cases that score the same do not rule out a loss of 0.02
    assert "Undecided, so the base stays" in choice.reason
    assert choose(finalists(a_report(HIGH, usd=0.002), a_report(HIGH, usd=0.001), margin=0.1), "quality", margin=0.1).winner.trial.number


def test_a_cheaper_finalist_wins_where_a_loss_of_the_margin_is_ruled_out() -> None:
    found = finalists(a_report(MANY, usd=0.002), a_report(MANY, usd=0.001))
    choice = choose(found, "quality")
    assert choice.winner is found[1]
    assert choice.reason.startswith("It costs 50% less ($0.001000 a query against $0.002000), and a loss of 0.02 to the base is ruled out")
    nearly = finalists(a_report(MANY, usd=0.001), a_report(MANY, usd=0.00095))
    assert choose(nearly, "quality").winner is nearly[0]  # 5 % are not worth it
    assert choose(nearly, "quality", cheaper_by=0.04).winner is nearly[1]
    assert "every finalist is equivalent to it within 0.02 or worse" in choose(nearly, "quality").reason


def test_a_cheaper_finalist_must_not_lose_to_the_best_finalist_either() -> None:
    # trial 1 may well be better than both (not shown); trial 2 is not worse than the base, and cheaper
    middling = [0.5, 0.6, 0.7] * 100
    gains = [value + 0.2 * (place % 12 == 0) - 0.1 * (place % 15 == 1) for place, value in enumerate(middling)]
    found = finalists(a_report(middling, usd=0.002), a_report(gains, usd=0.002), a_report(middling, usd=0.001))
    assert found[1].against is not None and found[1].against.outcome == "undecided"
    assert found[2].against is not None and found[2].against.non_inferior
    choice = choose(found, "quality")
    assert choice.winner is found[0]
    assert "Trial 2 costs 50% less" in choice.reason and "to the base and to the best finalist is ruled out" in choice.reason


def test_of_several_that_are_better_a_cheaper_one_wins_only_if_it_keeps_up_with_the_best() -> None:
    low = [0.2, 0.3, 0.4] * 100
    choice = choose(finalists(a_report(low), a_report(MANY, usd=0.002), a_report(MANY, usd=0.001)), "quality")
    assert choice.winner.trial.number == 2
    assert "Better than the base" in choice.reason
    less = [value - 0.05 for value in MANY]
    behind = choose(finalists(a_report(low), a_report(MANY, usd=0.002), a_report(less, usd=0.001)), "quality")
    assert behind.winner.trial.number == 1


def test_a_higher_mean_that_is_undecided_does_not_win_and_is_named() -> None:
    lucky = [1.0] * 6 + [0.0] * 54  # p .031 by itself, three times as much among three
    alike = [0.0] * 59 + [1.0]
    base = a_report([0.0] * 60)
    found = finalists(base, a_report(lucky, usd=0.01), a_report(alike, usd=0.01), a_report(alike, usd=0.01))
    assert compare_metric(base, found[1].holdout, "quality").outcome == "better"
    assert found[1].against is not None and found[1].against.outcome == "undecided"
    choice = choose(found, "quality")
    assert choice.winner is found[0]
    assert "Trial 1 is the one to look at, not shown to be better: quality +0.100 [" in choice.reason


def test_where_less_is_better_the_lower_mean_wins() -> None:
    down = {"direction": "lower"}
    assert choose(finalists(a_report(HIGH, **down), a_report(LOW, **down)), "quality").winner.trial.number == 1
    found = finalists(a_report(LOW, usd=0.002, **down), a_report(HIGH, usd=0.001, **down))
    assert choose(found, "quality").winner is found[0]


def test_time_decides_nothing_unless_it_was_measured_beside_the_incumbent() -> None:
    alike = [a_report(MANY), a_report(MANY)]
    assert choose(finalists(*alike), "quality").winner.trial.number == 0
    faster = choose(finalists(*alike, timing={1: times(0.5, 0.7)}), "quality")
    assert faster.winner.trial.number == 1
    assert "takes 0.59 times as long [0.50, 0.70], measured side by side on 30 cases" in faster.reason
    assert choose(finalists(*alike, timing={1: times(0.6, 0.95)}), "quality").winner.trial.number == 0
    dearer = finalists(a_report(MANY), a_report(MANY, usd=0.002), timing={1: times(0.5, 0.7)})
    assert choose(dearer, "quality").winner is dearer[0]


def test_an_unknown_price_is_neither_the_lower_nor_the_higher_one() -> None:
    for one, other in ((None, 0.001), (0.001, None), (None, None)):
        found = finalists(a_report(MANY, usd=one), a_report(MANY, usd=other))
        assert choose(found, "quality").winner is found[0]


def test_a_finalist_that_crashed_on_some_cases_cannot_win() -> None:
    high = a_report(HIGH)
    gone = CaseResult(high.rows[0].case, (Score("quality", None, "no answer"),), error=CaseError("X", "oops", infrastructure=False))
    flattered = EvalReport(high.header, (gone, *high.rows[1:]))
    choice = choose(finalists(a_report(LOW), flattered), "quality")
    assert choice.winner.against is None
    assert "no finalist answered every case" in choice.reason


def test_nothing_in_common_is_undecided() -> None:
    found = finalists(a_report([None]), a_report([1.0], usd=0.0001))
    assert found[1].against is not None and found[1].against.outcome == "undecided"
    assert choose(found, "quality").winner is found[0]


def test_pairs_are_of_the_cases_that_both_scored() -> None:
    held = compare_metric(a_report([0.0, None, 0.0, 1.0]), a_report([1.0, 1.0, None, 1.0]), "quality")
    assert held.count == 2
    assert held.difference == 0.5


def test_reports_escape_what_models_and_documents_say_and_fetch_nothing(tmp_path: Path) -> None:
    results = finalists(a_report(LOW), a_report(HIGH))
    experiment = Experiment.model_validate({"name": "e", "golden": "t/v1", "space": {"retrieve.top_k": {"int": [1, 9]}}})
    choice = choose(results, "quality")
    result = SweepResult(experiment, tuple(f.trial for f in results), tuple(results), choice.winner, choice.reason, "run", "#/run")
    for page in (write_sweep(result, tmp_path / "sweep"), write_evaluation(results[0].holdout, tmp_path / "eval")):
        text = re.sub(r"<script.*?</script>", "", page.read_text(), flags=re.DOTALL)
        assert "<b>x</b>" not in text
        assert "src=" not in text and "href=" not in text
        assert page.with_suffix(".md").read_text().startswith("# ")
    assert "Trial 1 wins" in (tmp_path / "sweep" / "report.html").read_text()


def test_where_nothing_kept_to_the_constraints_the_words_say_so() -> None:
    choice = choose(finalists(a_report(LOW)), "quality")
    assert choice.reason == "The base stays: no other trial kept to every constraint, so none was held against it."
