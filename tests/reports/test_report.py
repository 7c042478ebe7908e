import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest

from harness.comparison.pairs import compare_metric
from harness.reports import write_sweep, write_sweep_folder
from harness.reports.charts import figures
from harness.reports.findings import SweepFindings
from harness.reports.page import markdown_table, weakest
from harness.reports.plotly import Charts
from harness.reports.record import record_sweep
from harness.reports.values import axis_of
from harness.results.case_result import CaseError, CaseResult
from harness.results.header import Header
from harness.results.report import EvalReport
from harness.results.score import Score
from harness.sweep.experiment import Experiment, load_experiment
from harness.sweep.finalist import Finalist
from harness.sweep.folder import SweepFolder, SweepRecord
from harness.sweep.importance import importances
from harness.sweep.journal import journal
from harness.sweep.optimizer.pareto import undominated
from harness.sweep.trial import Trial
from harness.sweep.verdict import SweepResult, choose
from harness.tracking.memory import MemoryRun
from serving.pipeline.config import RagConfig
from serving.pipeline.types import Usage
from tests.support.making import a_case, a_hit, a_trace

NASTY = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\u2028{{ 7 * 7 }}"
SPACE = {"retrieve.top_k": {"int": [1, 9]}, "answer.prompt.version": {"choice": [1, 2, 3]}}
EXPERIMENT = Experiment.model_validate({"name": "e", "golden": "t/v1", "space": SPACE, "seed": 3})
LOW, HIGH = [0.2, 0.3, 0.4] * 20, [0.7, 0.8, 0.9] * 20


def a_report(
    values: Sequence[float | None], config: RagConfig, *, usd: float = 0.001, ms: float = 10.0, words: str = "30 days"
) -> EvalReport:
    usage = Usage("m", 10, 5, usd, priced=True)
    trace = replace(a_trace(a_hit(0, 50), answer=words), usage=(usage,), milliseconds=ms)
    kinds = ("factoid", "multi-hop")
    rows = [
        CaseResult(
            a_case(id=f"c{i}", kind=kinds[i % 2], question=words, evidence=[], relevant_ids=[f"d{i}"]),
            (Score("quality", value, "" if value is not None else "?"),),
            trace,
        )
        for i, value in enumerate(values)
    ]
    return EvalReport(Header(config.model_dump(mode="json"), "c", "i", "k", "t/v1", "g", "holdout", "s", ("quality",)), tuple(rows))


def a_trial(
    number: int, values: Mapping[str, Any], scores: Sequence[float | None], experiment: Experiment = EXPERIMENT, **more: Any
) -> Trial:
    config = experiment.apply(values)
    facts = {name: more.pop(name) for name in ("usd", "ms", "words") if name in more}
    report = a_report(scores, config, **facts)
    return Trial(number, values, config, report, more.pop("objectives", (report.mean("quality") or 0.0,)), f"r{number}", **more)


def a_result(words: str = "30 days", experiment: Experiment = EXPERIMENT) -> SweepResult:
    base = a_trial(0, {}, LOW, experiment, label="base", words=words)
    better = a_trial(1, {"retrieve.top_k": 3, "answer.prompt.version": 2}, HIGH, experiment, words=words)
    pruned = a_trial(
        2, {"retrieve.top_k": 9, "answer.prompt.version": 1}, LOW[:20], experiment, state="pruned", why="surely worse", words=words
    )
    broken = a_trial(
        3, {"retrieve.top_k": 8, "answer.prompt.version": 1}, HIGH, experiment, state="failed", why="1 of 60 cases crashed", words=words
    )
    crash = CaseResult(a_case(id="c0"), (), error=CaseError("ZeroDivisionError", words, infrastructure=False))
    broken = replace(broken, report=EvalReport(broken.report.header, (crash, *broken.report.rows[1:])))
    finalists = [Finalist(base, base.report, None)]
    finalists.append(Finalist(better, better.report, compare_metric(base.report, better.report, "quality")))
    choice = choose(finalists, "quality")
    trials = (base, better, pruned, broken)
    counts = {"retrieve": {"hits": 30, "misses": 10}}
    return SweepResult(experiment, trials, tuple(finalists), choice.winner, choice.reason, "run", "#/run", "", 0.5, 61.0, counts)


def kept(folder: Path, result: SweepResult) -> SweepFolder:
    where = SweepFolder(folder)
    asked = result.experiment.model_dump(mode="json")
    where.write_record(SweepRecord(experiment=asked, golden_digest="g", corpus="c", corpus_digest="k"))
    for one in result.trials:
        where.write_trial(one)
    return where


def outside(page: str) -> str:
    """A page without what is between its script tags."""
    return re.sub(r"(<script[^>]*>).*?</script>", r"\1</script>", page, flags=re.DOTALL)


# ── the page ──


def test_a_page_says_who_won_by_how_much_and_how_to_do_it_again(tmp_path: Path) -> None:
    result = a_result()
    text = outside(write_sweep(result, tmp_path).read_text())
    assert "Trial 1 wins." in text and "+0.500" in text
    for words in (
        "Finalists: tune against holdout",
        "Which knobs mattered",
        "surely worse",
        "ZeroDivisionError",
        "Weakest cases of trial 1",
    ):
        assert words in text
    assert "75%" in text  # of the stage store
    assert "0.295 over 20 of 60" in text and "| 2 | 0.295 over 20 of 60 | pruned |" in (tmp_path / "report.md").read_text()
    assert "not measured" in text and "they decided nothing" in text
    again = load_experiment(tmp_path / "experiment.yaml")
    assert again.digest == result.experiment.digest
    markdown = (tmp_path / "report.md").read_text()
    assert markdown.startswith("# Sweep e: better") and "| 3 | 0.800 | failed | 1 of 60 cases crashed |" in markdown


def test_nothing_that_a_document_a_question_or_a_knob_says_gets_out_of_its_place(tmp_path: Path) -> None:
    space = SPACE | {"answer.prompt.name": {"choice": ["general", NASTY]}}
    experiment = Experiment.model_validate({"name": "e", "about": NASTY, "golden": NASTY, "space": space})
    plain = a_result(words=NASTY, experiment=experiment)
    trials = tuple(
        replace(one, why=NASTY, values={**one.values, "answer.prompt.name": NASTY}, label=NASTY if one.label else "")
        for one in plain.trials
    )
    finalists = tuple(replace(one, trial=trials[one.trial.number]) for one in plain.finalists)
    page = write_sweep(
        replace(plain, trials=trials, finalists=finalists, winner=finalists[1], reason=NASTY, ended=NASTY), tmp_path
    ).read_text()
    assert page.count("</script>") == 3 and page.count("<script") == 3
    assert "<img" not in outside(page) and "49" not in re.findall(r"<h1>.*?</h1>", page)[0]
    found = re.search(r'<script type="application/json" id="charts">(.*?)</script>', page, re.DOTALL)
    assert found
    assert not set("<>&\u2028") & set(found[1])
    assert "<img" not in json.dumps(json.loads(found[1]))  # Plotly reads tags in its texts, so there are none
    assert "<img" not in (tmp_path / "report.md").read_text()


def test_a_page_lets_nothing_be_fetched_and_no_other_script_run(tmp_path: Path) -> None:
    page = write_sweep(a_result(), tmp_path).read_text()
    [policy] = re.findall(r'Content-Security-Policy" content="([^"]*)"', page.replace("&#39;", "'"))
    assert policy.startswith("default-src 'none'") and policy.count("sha256-") == 2 and "script-src 'unsafe-inline'" not in policy
    assert "src=" not in outside(page) and "href=" not in outside(page)


def test_the_policy_names_the_scripts_as_they_stand_in_the_page(tmp_path: Path) -> None:
    import base64
    import hashlib

    page = write_sweep(a_result(), tmp_path).read_text()
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert len(scripts) == 2
    for script in scripts:
        assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() in page.replace("&#43;", "+")
    assert "\r" not in page  # a browser would make it a newline, and the digest another


# ── the charts ──


def test_every_chart_is_one_that_plotly_takes() -> None:
    made = figures(SweepFindings(EXPERIMENT, a_result().trials, a_result()))
    assert {"gap", "tradeoff", "parallel", "history", "slices"} <= made.keys()
    for name, figure in made.items():
        assert go.Figure(figure).data, name  # it validates every property


def test_the_best_so_far_counts_only_usable_trials() -> None:
    trials = (
        a_trial(0, {}, [0.5, 0.5], label="base"),
        a_trial(1, {"retrieve.top_k": 1, "answer.prompt.version": 1}, [0.9, 0.9], state="failed"),
        a_trial(2, {"retrieve.top_k": 2, "answer.prompt.version": 1}, [0.8, 0.8], violations={"cost.usd": 0.1}),
        a_trial(3, {"retrieve.top_k": 3, "answer.prompt.version": 1}, [0.6, 0.6]),
    )
    line = figures(SweepFindings(EXPERIMENT, trials))["history"]["data"][0]
    assert (line["x"], line["y"]) == ([0, 1, 2, 3], [0.5, 0.5, 0.5, 0.6])


def test_the_line_to_beat_is_the_incumbents_and_only_the_winner_is_named_beside_it() -> None:
    plain = a_result()
    base, *others = plain.trials
    champion = a_trial(4, {}, HIGH, label="champion")
    other = a_trial(5, {"retrieve.top_k": 4, "answer.prompt.version": 2}, HIGH[1:])
    trials = (base, champion, *others, other)
    result = replace(plain, trials=trials, finalists=(*plain.finalists, Finalist(other, other.report, plain.winner.against)))
    made = figures(SweepFindings(EXPERIMENT, trials, result))
    [line] = made["history"]["layout"]["shapes"]
    assert (line["name"], line["showlegend"], line["y0"]) == ("the champion", True, champion.objective)
    names = {text for points in made["tradeoff"]["data"] for text in points.get("text", ())}
    assert names == {"base", "champion", "trial 1, winner", ""}


def test_a_low_goal_is_best_low() -> None:
    experiment = Experiment.model_validate({"name": "e", "golden": "t/v1", "space": SPACE, "objective": ["cost.usd"]})
    trials = tuple(a_trial(n, {}, [0.5], experiment, objectives=(value,)) for n, value in enumerate((3.0, 1.0, 2.0)))
    found = SweepFindings(experiment, trials)
    assert [one.number for one in found.ranked] == [1, 2, 0]
    assert figures(found)["history"]["data"][0]["y"] == [3.0, 1.0, 1.0]


def test_the_front_is_what_no_other_point_beats() -> None:
    assert undominated([(1, 1), (2, 0), (0, 2), (1, 0), (1, 1)]) == [0, 1, 2, 4]
    trials = (a_trial(0, {}, [0.5], usd=0.001), a_trial(1, {}, [0.6], usd=0.002), a_trial(2, {}, [0.4], usd=0.002))
    assert [one.number for one in SweepFindings(EXPERIMENT, trials).front] == [0, 1]


def test_several_objectives_have_a_front_over_all_of_them() -> None:
    several = Experiment.model_validate(
        {"name": "e", "golden": "t/v1", "space": SPACE, "objective": ["quality", "cost.usd", "ms.total.p95"]}
    )
    facts = [(0.5, 0.001, 10.0), (0.6, 0.002, 20.0), (0.5, 0.002, 5.0), (0.4, 0.002, 20.0)]
    trials = tuple(a_trial(n, {}, [q], several, usd=usd, ms=ms, objectives=(q, usd, ms)) for n, (q, usd, ms) in enumerate(facts))
    found = SweepFindings(several, trials)
    assert [one.number for one in found.front] == [0, 1, 2]
    assert go.Figure(figures(found)["tradeoff"]).data


def test_an_axis_has_a_place_for_every_value_and_for_none() -> None:
    axis = axis_of([3, None, 1, True], "knob")
    assert (axis["values"], axis["ticktext"]) == ([2, 0, 1, 3], ["–", "1", "3", "True"])
    many = axis_of([None, *range(10)], "knob")
    assert many["values"][0] < 0 and many["ticktext"][0] == "–" and many["values"][1:] == list(range(10))


# ── which knobs mattered ──


def many_trials(effect: str) -> list[Trial]:
    """Forty trials whose goal rests on one knob alone, or on nothing."""
    import random

    draw = random.Random(5)
    made = []
    for number in range(40):
        values = {"retrieve.top_k": draw.randint(1, 9), "answer.prompt.version": draw.randint(1, 3)}
        goal = values["retrieve.top_k"] / 9 if effect else draw.random()
        made.append(a_trial(number, values, [goal]))
    return made


def test_a_knob_that_decides_stands_out_and_one_that_does_not_is_below_chance() -> None:
    found = {one.path: one for one in importances(EXPERIMENT, many_trials("top_k"))}
    assert found["retrieve.top_k"].beyond_chance and not found["answer.prompt.version"].beyond_chance
    assert found["retrieve.top_k"].share > 0.8


def test_few_trials_and_equal_ones_say_nothing() -> None:
    assert importances(EXPERIMENT, many_trials("top_k")[:5]) == []
    assert importances(EXPERIMENT, [replace(one, objectives=(0.5,)) for one in many_trials("top_k")]) == []


def test_optuna_opens_the_study_that_is_kept(tmp_path: Path) -> None:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    path = tmp_path / "study.journal"
    path.write_text(journal(EXPERIMENT, a_result().trials))
    study = optuna.load_study(study_name="e", storage=JournalStorage(JournalFileBackend(str(path))))
    assert study.best_trial.params == {"retrieve.top_k": 3, "answer.prompt.version": 2}
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "PRUNED", "FAIL"]
    assert [trial.user_attrs["trial"] for trial in study.trials] == [1, 2, 3]


def test_the_study_that_is_kept_has_the_mean_at_each_look(tmp_path: Path) -> None:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend
    from optuna.visualization import plot_intermediate_values

    knobs = {"retrieve.top_k": 3, "answer.prompt.version": 2}
    climbing = a_trial(1, knobs, [0.0] * 20 + [1.0] * 20 + [None] * 5)
    late = a_trial(2, knobs | {"retrieve.top_k": 4}, [None] * 20 + [0.5] * 20, state="pruned")
    path = tmp_path / "study.journal"
    path.write_text(journal(EXPERIMENT, [climbing, late]))
    study = optuna.load_study(study_name="e", storage=JournalStorage(JournalFileBackend(str(path))))
    assert [trial.intermediate_values for trial in study.trials] == [{20: 0.0, 40: 0.5, 45: 0.5}, {40: 0.5}]
    assert [trial.values for trial in study.trials] == [[0.5], [0.5]]
    assert study.best_trial.user_attrs["trial"] == 1
    drawn = plot_intermediate_values(study)
    assert [list(line.x) for line in drawn.data] == [[20, 40, 45], [40]]


# ── on disk ──


def test_a_folder_alone_gives_the_same_report(tmp_path: Path) -> None:
    result = a_result()
    where = kept(tmp_path / "sweep", result)
    where.write_result(result)
    page = write_sweep(result, where.path)
    first = page.read_text()
    page.unlink()
    again = write_sweep_folder(where.path, where.path)
    assert again.ended and again.page.read_text() == first


def test_a_difference_that_nothing_can_detect_survives_the_disk(tmp_path: Path) -> None:
    result = a_result()
    held = result.finalists[1].against
    assert held is not None
    finalists = (result.finalists[0], replace(result.finalists[1], against=replace(held, detectable=float("inf"))))
    where = kept(tmp_path, result)
    where.write_result(replace(result, finalists=finalists, winner=finalists[1]))
    back = where.read_result()
    assert back and back.finalists[1].against == finalists[1].against


def test_a_sweep_without_a_verdict_says_so_and_shows_what_is_known(tmp_path: Path) -> None:
    where = kept(tmp_path / "sweep", a_result())
    written = write_sweep_folder(where.path, tmp_path)
    assert not written.ended
    text = outside(written.page.read_text())
    assert "No verdict yet: 4 of 20 trials are finished" in text and "touchstone sweep --resume" in text
    assert "wins" not in text and 'id="chart-history"' in text
    empty = SweepFolder(tmp_path / "empty")
    empty.write_record(where.record())
    assert "0 of 20 trials" in write_sweep_folder(empty.path, tmp_path / "none").page.read_text()


def test_a_sweep_gone_on_with_has_no_verdict_until_it_ends_again(tmp_path: Path) -> None:
    result = a_result()
    where = kept(tmp_path, result)
    where.write_result(result)
    where.write_trial(a_trial(4, {"retrieve.top_k": 5, "answer.prompt.version": 2}, HIGH))
    assert where.read_result() is None


# ── the parent run ──


def test_the_parent_run_carries_what_the_sweep_found_and_took(tmp_path: Path) -> None:
    run, result = MemoryRun("sweep", "x"), a_result()
    record_sweep(run, result, [write_sweep(result, tmp_path)])
    assert run.logged_params == {"objective": "quality", "seed": 3, "sampler": "mixed"}
    metrics = run.logged_metrics
    assert (metrics["spent_usd"], metrics["trials.pruned"], metrics["trials.failed"], metrics["store.retrieve.hits"]) == (
        0.5,
        1.0,
        1.0,
        30.0,
    )
    assert metrics["difference"] == pytest.approx(0.5)
    assert run.logged_histories == {"tune.quality": [one.objective for one in result.trials]}
    assert [row["state"] for row in run.logged_tables["trials.json"]] == ["complete", "complete", "pruned", "failed"]
    assert {"report.html", "experiment.yaml", "study.journal", "plots/gap.json"} <= run.logged_texts.keys()
    assert run.logged_tags["winner.retrieve.top_k"] == "3"


# ── what every report shares ──


def test_the_weakest_are_the_crashed_then_the_lowest_and_never_the_unscored() -> None:
    report = a_report([0.9, None, 0.1, 0.0], EXPERIMENT.config)
    crash = CaseResult(a_case(id="gone"), (), error=CaseError("X", "oops", infrastructure=False))
    report = EvalReport(report.header, (*report.rows, crash))
    assert [row.case.id for row in weakest(report, "quality")] == ["gone", "c3", "c2", "c0"]
    low = EvalReport(replace(report.header, directions={"quality": "lower"}), report.rows)
    assert [row.case.id for row in weakest(low, "quality")] == ["gone", "c0", "c2", "c3"]


def test_a_cell_cannot_end_its_row() -> None:
    assert markdown_table(["a"], [["x | y\n# z <b>"]])[2] == "| x \\| y # z &lt;b> |"


def test_the_chart_script_of_the_package_cannot_end_its_element() -> None:
    charts = Charts({})
    assert "</script" not in charts.library.lower() and "</script" not in charts.drawing.lower()
