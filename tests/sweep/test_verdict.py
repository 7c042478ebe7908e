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
from harness.stats import holm
from harness.sweep.experiment import Experiment
from harness.sweep.trial import Trial
from harness.sweep.verdict import Finalist, SweepResult, choose
from serving.pipeline.config import RagConfig
from serving.pipeline.types import Usage
from tests.support.making import a_case, a_hit, a_trace

CONFIG = RagConfig.parse({})


def a_report(values: Sequence[float | None], *, usd: float | None = 0.001, milliseconds: float = 10.0) -> EvalReport:
    usage = Usage("m", 10, 5, usd or 0.0, priced=usd is not None)
    trace = replace(a_trace(a_hit(0, 50), answer="<b>x</b>"), usage=(usage,), milliseconds=milliseconds)
    rows = [
        CaseResult(a_case(id=f"c{i}"), (Score("quality", value, "" if value is not None else "?"),), trace)
        for i, value in enumerate(values)
    ]
    header = Header(CONFIG.model_dump(mode="json"), "c", "i", "k", "t/v1", "g", "holdout", "s", ("quality",))
    return EvalReport(header, tuple(rows))


def finalists(*reports: EvalReport) -> list[Finalist]:
    base, *others = reports
    held = holm([compare_metric(base, other, "quality") for other in others])
    against = [None, *held]
    return [
        Finalist(
            Trial(
                n, {"retrieve.top_k": n} if n else {}, CONFIG, report, (report.mean("quality") or 0.0,), f"r{n}", label="" if n else "base"
            ),
            report,
            against[n],
        )
        for n, report in enumerate(reports)
    ]


LOW, HIGH = [0.2, 0.3, 0.4] * 20, [0.7, 0.8, 0.9] * 20


def test_a_clearly_better_finalist_wins() -> None:
    choice = choose(finalists(a_report(LOW), a_report(HIGH)), "quality")
    assert choice.winner.trial.number == 1
    assert "Better than the base" in choice.reason
    assert "+0.500" in choice.reason


def test_when_nothing_is_better_the_base_stays() -> None:
    choice = choose(finalists(a_report(HIGH), a_report(LOW)), "quality")
    assert choice.winner.against is None
    assert "the base stays" in choice.reason


def test_among_ties_the_cheapest_wins_then_the_fastest() -> None:
    nearly = [value + 0.0001 for value in HIGH[:1]] + HIGH[1:]
    choice = choose(finalists(a_report(LOW), a_report(nearly, usd=0.002), a_report(HIGH, usd=0.001)), "quality")
    assert choice.winner.trial.number == 2
    assert "cheapest" in choice.reason and "trial 1 has the highest mean" in choice.reason
    faster = choose(finalists(a_report(LOW), a_report(HIGH), a_report(HIGH, milliseconds=5.0)), "quality")
    assert faster.winner.trial.number == 2


def test_a_dearer_finalist_wins_nothing_by_a_difference_that_is_gone_after_correction() -> None:
    base = [0.0] * 60
    lucky = [1.0] * 6 + [0.0] * 54  # p .031 by itself, three times as much among three
    alike = [0.0] * 59 + [1.0]
    found = finalists(a_report(base, usd=0.001), a_report(lucky, usd=0.01), a_report(alike, usd=0.01), a_report(alike, usd=0.01))
    assert compare_metric(found[0].holdout, found[1].holdout, "quality").outcome == "better"
    assert found[1].against is not None and found[1].against.outcome == "tie"
    choice = choose(found, "quality")
    assert choice.winner is found[0]
    assert "cheapest ($0.001000 a query)" in choice.reason


def test_an_incumbent_is_not_replaced_by_what_costs_and_takes_nearly_the_same() -> None:
    slow, quick = 100.0, 85.0
    found = finalists(a_report(LOW, usd=0.00100, milliseconds=slow), a_report(LOW, usd=0.00099, milliseconds=quick))
    assert choose(found, "quality").winner is found[0]
    cheaper = finalists(a_report(LOW, usd=0.00100), a_report(LOW, usd=0.00097))
    assert choose(cheaper, "quality").winner is cheaper[1]
    faster = finalists(a_report(LOW, milliseconds=100.0), a_report(LOW, milliseconds=75.0))
    choice = choose(faster, "quality")
    assert choice.winner is faster[1]
    assert "2 cost the least" in choice.reason and "none of these is clearly faster (p50 75 ms)" in choice.reason


def test_without_any_known_price_the_fastest_wins() -> None:
    found = finalists(a_report(LOW, usd=None, milliseconds=100.0), a_report(LOW, usd=None, milliseconds=10.0))
    choice = choose(found, "quality")
    assert choice.winner is found[1]
    assert "no price is known" in choice.reason


def test_an_unknown_price_is_never_the_cheapest() -> None:
    choice = choose(finalists(a_report(LOW), a_report(HIGH, usd=None), a_report(HIGH, usd=0.001)), "quality")
    assert choice.winner.trial.number == 2


def test_a_finalist_that_crashed_on_some_cases_cannot_win() -> None:
    high = a_report(HIGH)
    gone = CaseResult(a_case(id="c0"), (Score("quality", None, "no answer"),), error=CaseError("X", "oops", infrastructure=False))
    flattered = EvalReport(high.header, (gone, *high.rows[1:]))
    assert choose(finalists(a_report(LOW), flattered), "quality").winner.against is None


def test_nothing_in_common_is_a_tie() -> None:
    assert compare_metric(a_report([None]), a_report([1.0]), "quality").outcome == "tie"


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
