import asyncio
import io
import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.cli.estimate_table import confirm_price, estimate_lines
from harness.cli.sweep import SweepPrinter, progress_text
from harness.golden.load import load_golden
from harness.results.report_file import read_report
from harness.settings import read_settings
from harness.sweep.cost.case_cost import CasePrices
from harness.sweep.cost.estimate import Estimate, spread, total
from harness.sweep.cost.probe import Probe, probe
from harness.sweep.cost.sweep_estimate import SweepEstimate
from harness.sweep.experiment import Experiment, load_experiment
from harness.sweep.folder import SweepFolder
from harness.sweep.progress import SweepProgress
from harness.sweep.setup import SweepOptions, SweepSetup, open_sweep
from harness.sweep.space.bounds import SpaceModels, dearest, sample
from serving.pipeline.config import RagConfig
from serving.pipeline.errors import ConfigError, PromptError
from serving.pipeline.prompts import PromptLibrary
from tests.doubles.bedrock import CREDENTIALS, BedrockDouble, Reply
from tests.support.sweeping import experiment
from tests.support.world import CONFIG, REPOSITORY, World

pytestmark = pytest.mark.slow

LITE, PRO = "bedrock_converse:amazon.nova-lite-v1:0", "bedrock_converse:amazon.nova-pro-v1:0"
UNKNOWN = "bedrock_converse:amazon.unheard-of-v1:0"
TITAN = "bedrock:amazon.titan-embed-text-v2:0"
SPACE: dict[str, Any] = {"retrieve.top_k": {"int": [1, 4]}, "answer.prompt.version": {"choice": [2, 3]}}


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)


def with_chats(lite: str, pro: str, **sections: Any) -> dict[str, Any]:
    return {**CONFIG, **sections, "answer": {"models": {"lite": {"name": lite}, "pro": {"name": pro}}}}


def opened(world: World, **changes: Any) -> SweepSetup:
    asked = {"name": "priced", "golden": "tiny/v1", "base": CONFIG, "space": SPACE, "trials": 10, "finalists": 2, **changes}
    (world.root / "priced.yaml").write_text(yaml.safe_dump(asked))
    return open_sweep(load_experiment(world.root / "priced.yaml"), read_settings(), SweepOptions(tracking=False))


def estimated(world: World, **changes: Any) -> SweepEstimate:
    return asyncio.run(opened(world, **changes).estimate())


def counts(world: World) -> tuple[int, int]:
    golden = load_golden(world.root / "datasets", "tiny/v1")
    tune = len(golden.tune().cases)
    return tune, len(golden.cases) - tune


def test_cases_are_those_of_all_trials_and_of_the_proof(world: World) -> None:
    tune, held_out = counts(world)
    every = estimated(world, pruner={"name": "none"}).cases
    assert every.high == every.likely == 10 * tune + 3 * held_out
    assert every.low == 10 * tune + held_out
    early = estimated(world, block=1, pruner={"startup": 5})
    assert early.cases.low == tune + 9 * 5 + held_out


def test_the_base_and_the_champion_are_counted_however_few_trials_are_asked_for(world: World) -> None:
    tune, held_out = counts(world)
    one = opened(world, trials=1)
    both = replace(one, champion=one.experiment.config.replace({"retrieve.top_k": 7}))
    found = [asyncio.run(each.estimate()) for each in (one, both)]
    assert [each.trials for each in found] == [1, 2]
    assert [each.cases.low for each in found] == [tune + held_out, 2 * tune + 2 * held_out]


def test_local_models_cost_simulated_money_and_their_time_is_measured(world: World) -> None:
    found = estimated(world)
    assert found.simulated
    assert found.hosted == found.unpriced == found.assumed == ()
    assert 0 < found.usd.low <= found.usd.likely <= found.usd.high
    assert 0 < found.seconds.low <= found.seconds.likely <= found.seconds.high
    assert any("simulated" in line for line in estimate_lines(found))


def test_the_answers_that_finalists_are_timed_on_are_in_the_price(world: World) -> None:
    tune = counts(world)[0]
    found, untimed = estimated(world), estimated(world, timing_cases=0)
    assert (found.timed, untimed.timed) == ((tune + min(5, tune)) * found.finalists, 0)
    assert found.cases == untimed.cases
    assert found.usd.likely > untimed.usd.likely and found.input_tokens.high > untimed.input_tokens.high
    assert any(line.startswith("to time    ") and "each finalist against the incumbent" in line for line in estimate_lines(found))
    hosted = estimated(world, base=with_chats(LITE, PRO))
    assert hosted.timed == 0
    assert any("each answer is paid for" in line for line in estimate_lines(hosted))
    asked = estimated(world, base=with_chats(LITE, PRO), timing_cases=5)
    assert asked.timed == 10 * asked.finalists
    assert asked.usd.high > hosted.usd.high and asked.proof_usd > hosted.proof_usd  # which the budget keeps for it


def test_nothing_hosted_is_asked_and_the_truth_lies_within(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with BedrockDouble(lambda call: Reply("30 days. [1]", input_tokens=(len(call.text) + 1500) // 4, output_tokens=40)) as double:
        monkeypatch.setenv("TOUCHSTONE_BEDROCK_ENDPOINT", double.url)
        found = estimated(world, base=with_chats(LITE, PRO))
        assert double.calls == []
        said = world.touchstone("sweep", "priced.yaml", "--yes", "--no-tracking", "--json")
    assert said.code == 0, said.err
    assert set(found.hosted) == {LITE, PRO}
    spent = said.json["spent_usd"]  # type: ignore[index]
    assert 0 < spent <= found.usd.high
    traces = [trace for path in world.root.glob("reports/sweeps/*/trials/*.jsonl") for trace in read_report(path).traces]
    assert traces
    [folder] = world.root.glob("reports/sweeps/*")
    setup = opened(world, base=with_chats(LITE, PRO))
    prices = CasePrices(setup.experiment, setup.worker.factory, setup.golden)
    for trial in SweepFolder(folder).finished():  # each within what was reserved for it, and that within what was quoted
        assert max(trace.usd for trace in trial.report.traces) <= prices.case_usd(trial.config) <= found.case_usd
    held_out = counts(world)[1]
    assert found.usd.high * 3 * held_out / found.cases.high < found.proof_usd < found.case_usd * 4 * held_out
    assert said.json["estimate"]["usd"] == found.model_dump()["usd"]  # type: ignore[index]


def test_a_router_that_knows_one_tier_leaves_the_other_out(world: World) -> None:
    both = estimated(world, base=with_chats(LITE, PRO))
    one = estimated(world, base=with_chats(LITE, PRO, route={"router": {"name": "always", "tier": "lite"}}))
    assert one.hosted == (LITE,)
    assert one.case_usd == pytest.approx(both.case_usd * 0.06 / 0.8, rel=0.05)  # Nova Lite reads and writes for less


def test_an_answer_that_may_be_given_up_is_paid_for_with_the_one_after_it(world: World) -> None:
    once = estimated(world, base=with_chats(LITE, PRO))
    twice = estimated(world, base=with_chats(LITE, PRO, route={"escalate": {"name": "doubtful"}}))
    assert twice.case_usd == pytest.approx(once.case_usd * (1 + 0.06 / 0.8), rel=0.02)  # the cheap one, then the dear one
    assert twice.usd.likely > once.usd.likely
    assert twice.usd.low == pytest.approx(once.usd.low)


def test_of_models_that_vary_the_cheapest_and_the_dearest_count(world: World) -> None:
    choice = {"answer.models.lite.name": {"choice": [LITE, PRO]}}
    always = {"router": {"name": "always", "tier": "lite"}}
    varied = estimated(world, base=with_chats(LITE, PRO, route=always), space=choice)
    cheap = estimated(world, base=with_chats(LITE, PRO, route=always))
    dear = estimated(world, base=with_chats(PRO, PRO, route=always))
    assert varied.case_usd == pytest.approx(dear.case_usd)
    assert varied.hosted == (LITE, PRO)
    assert cheap.usd.low < varied.usd.high
    assert varied.usd.likely == pytest.approx((cheap.usd.likely + dear.usd.likely) / 2, rel=0.15)  # half of the space asks each


def test_hosted_embeddings_and_reranking_are_priced_without_asking_them(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    base = {**CONFIG, "index": {"embedder": {"name": TITAN}}, "retrieve": {"top_k": 2, "reranker": {"name": "bedrock"}}}
    with BedrockDouble() as double:
        monkeypatch.setenv("TOUCHSTONE_BEDROCK_ENDPOINT", double.url)
        found = estimated(world, base=base, space=SPACE | {"index.chunker.size": {"choice": [300, 600]}})
        assert double.calls == []
    assert set(found.hosted) == {TITAN, "bedrock:amazon.rerank-v1:0"}
    assert found.indexes == 3  # and the base's own, which is none of these
    assert found.index_usd > 0
    assert found.case_usd > 0.001  # a query of the reranker
    assert found.usd.low > 0.001 * found.cases.low
    assert not list(world.root.glob(".touchstone/indexes/*"))


def test_judges_are_counted_with_their_retries(world: World) -> None:
    base, metrics = with_chats(LITE, LITE), ["quality", "judge_groundedness", "judge_relevance"]
    alone = estimated(world, base=base, metrics=metrics[:1])
    judged = estimated(world, base=base, metrics=metrics, judge=f"llm:{PRO}")
    assert judged.hosted == (LITE, PRO)
    assert judged.input_tokens.likely > 2 * alone.input_tokens.likely
    assert judged.case_usd > 6 * alone.case_usd  # two metrics, three tries each, of a dearer model


def test_a_judge_of_each_passage_is_counted_for_as_many_as_the_space_may_find(world: World) -> None:
    judged: dict[str, Any] = {"metrics": ["quality", "judge_context_relevance"], "judge": f"llm:{PRO}"}
    few, many = (
        estimated(world, base={**CONFIG, "retrieve": {"top_k": top_k}}, space={"retrieve.top_k": {"int": [top_k, top_k + 1]}}, **judged)
        for top_k in (1, 19)
    )
    assert many.usd.likely > 2 * few.usd.likely
    space = {"retrieve.top_k": {"int": [1, 20]}}
    few, many = (estimated(world, base={**CONFIG, "retrieve": {"top_k": top_k}}, space=space, **judged) for top_k in (1, 20))
    assert few.usd.high / few.cases.high >= many.usd.likely / many.cases.likely


def test_judges_are_counted_with_the_prompts_that_they_are_given(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    judged: dict[str, Any] = {"base": with_chats(LITE, LITE), "metrics": ["quality", "judge_coherence"], "judge": f"llm:{PRO}"}
    shipped = estimated(world, **judged)
    shutil.copytree(REPOSITORY / "prompts", "own")
    path = Path("own/judge/coherence/v1.md")
    path.write_text(path.read_text() + "Mind what hangs together. " * 1000)  # 6500 tokens
    monkeypatch.setenv("TOUCHSTONE_PROMPTS", "own")
    own = estimated(world, **judged)
    assert own.case_usd > shipped.case_usd + 3 * 6000 * 0.8e-6  # in each of three tries


def test_a_librarys_metric_takes_several_calls_with_examples_and_long_replies(world: World) -> None:
    judged: dict[str, Any] = {"base": with_chats(LITE, LITE), "judge": f"llm:{PRO}"}
    plain = estimated(world, metrics=["quality"], **judged)
    found = estimated(world, metrics=["quality", "ragas_factual_correctness"], **judged)
    context, answer = 1500, 400  # tokens at most; two bytes a token are twice as many
    call = (2 * 1500 + 2 * context + 3 * answer) * 0.8e-6 + 3 * answer * 3.2e-6
    assert found.case_usd - plain.case_usd > 4 * 2 * call


def test_an_unknown_price_is_told_and_needs_a_yes(world: World) -> None:
    opened(world, base=with_chats("openai:my-own", LITE))
    told = world.touchstone("sweep", "priced.yaml", "--estimate")
    assert told.code == 0
    assert "price of openai:my-own unknown" in told.err
    refused = world.touchstone("sweep", "priced.yaml", "--no-tracking")
    assert refused.code == 2
    assert "The price of openai:my-own is not known" in refused.err
    assert not list(world.root.glob("reports/sweeps/*"))


@pytest.mark.parametrize(
    "decides",
    [
        {"objective": ["quality", "cost.usd"]},
        {"constraints": {"cost.usd": {"at_most": 1.0}}},
        {"objective": ["usd"], "metrics": ["usd"], "margin": 0.001},
    ],
)
@pytest.mark.parametrize("base", [True, False])
def test_dollars_decide_nothing_where_a_price_is_unknown(world: World, decides: dict[str, Any], base: bool) -> None:
    space = SPACE if base else {"answer.models.lite.name": {"choice": ["local:reader-lite", "openai:my-own"]}}
    opened(world, base=with_chats("openai:my-own", LITE) if base else CONFIG, space=space, **decides)
    said = world.touchstone("sweep", "priced.yaml", "--yes", "--no-tracking")
    assert said.code == 2
    assert said.err.strip().count("\n") == 0
    assert "has no value where the price of openai:my-own is not known. Take the" in said.err
    assert not list(world.root.glob("reports/sweeps/*"))


def test_a_judge_without_a_known_price_leaves_the_dollars_of_answers_known(world: World) -> None:
    asked = {"metrics": ["quality", "judge_relevance"], "judge": f"llm:{UNKNOWN}", "constraints": {"cost.usd": {"at_most": 1.0}}}
    assert estimated(world, **asked).unpriced == (UNKNOWN,)


@pytest.mark.parametrize(("base", "space"), [
    ({"retrieve": {"top_k": 1}}, {"retrieve.top_k": {"int": [1, 5]}}),
    ({"retrieve": {"top_k": 5}, "context_tokens": 64}, {"answer.context_tokens": {"int": [64, 1500]}}),
])  # fmt: skip
def test_no_configuration_of_a_space_reads_more_than_was_quoted(world: World, base: dict[str, Any], space: dict[str, Any]) -> None:
    def asked(retrieve: dict[str, Any], context_tokens: int = 1500) -> dict[str, Any]:
        prompt = {"name": "general", "version": 3, "by_domain": False}
        return {**CONFIG, "retrieve": retrieve, "answer": {**CONFIG["answer"], "prompt": prompt, "context_tokens": context_tokens}}

    found = estimated(world, base=asked(**base), space=space)
    most = estimated(world, base=asked({"top_k": 5}), space=space)
    assert found.input_tokens.high / found.cases.high >= most.input_tokens.likely / most.cases.high


def test_a_script_of_more_bytes_has_more_tokens(world: World) -> None:
    base = {**with_chats(LITE, LITE), "index": {"embedder": {"name": TITAN}}}
    before = estimated(world, base=base)
    (world.root / "datasets/corpora/tiny/hr/zh.md").write_text("每位員工每年有三十天帶薪假期。" * 100)
    found = estimated(world, base=base)
    assert found.index_usd >= before.index_usd + 0.02e-6 * 1500  # a token for each character
    assert found.input_tokens.high > 1.5 * before.input_tokens.high


def test_a_sweep_begun_from_what_is_kept_asks_before_it_is_gone_on_with_for_money(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(world, base=with_chats(LITE, LITE), trials=1)
    with BedrockDouble(lambda call: Reply("30 days. [1]", input_tokens=300, output_tokens=40)) as double:
        monkeypatch.setenv("TOUCHSTONE_BEDROCK_ENDPOINT", double.url)
        assert "Run once without --replay-only" in world.touchstone("sweep", "priced.yaml", "--replay-only", "--no-tracking").err
        refused = world.touchstone("sweep", "--resume", "--no-tracking")
        assert (refused.code, double.calls) == (2, [])
        assert "nobody is here to ask" in refused.err
        assert world.touchstone("sweep", "--resume", "--no-tracking", "--yes").code == 0
        assert double.calls
        assert world.touchstone("sweep", "--resume", "--no-tracking").code == 0  # it was agreed to


def test_only_the_estimate_is_printed_where_only_it_is_asked_for(world: World) -> None:
    opened(world)
    said = world.touchstone("sweep", "priced.yaml", "--estimate", "--json")
    assert said.code == 0
    assert SweepEstimate.model_validate(said.json).trials == 10
    assert not list(world.root.glob("reports/sweeps/*"))


def test_no_number_of_workers_is_one_a_core(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.sweep.experiment.cores", lambda: 4)

    async def timeless(*given: Any) -> Probe:
        return replace(await probe(*given), ms=0.0, index_seconds=0.0)

    monkeypatch.setattr("harness.sweep.cost.sweep_estimate.probe", timeless)  # what this machine takes now is no part of it
    base = with_chats(LITE, LITE)  # whose calls take their assumed time
    one, every, four = (estimated(world, base=base, engine={"workers": count}).seconds.high for count in (1, 0, 4))
    assert every == pytest.approx(four, rel=0.05)
    assert every == pytest.approx(one / 4, rel=0.05)


def test_progress_tells_dollars_beside_the_budget_or_beside_the_quote() -> None:
    progress = SweepProgress(trials=10, done=4, resumed=2, spent_usd=0.0123, started_s=time.monotonic() - 60)
    assert progress_text(progress, experiment(), 0.4).endswith("$0.0123 of about $0.4000 · 3 min left")
    assert "$0.0123 of $2 ·" in progress_text(progress, experiment(budget_usd=2), 0.4)
    assert "$0.0123 ·" in progress_text(progress, experiment())


def test_the_quote_of_a_sweep_that_is_gone_on_with_holds_what_was_spent(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    quotes: list[float] = []

    def spy(told: SweepPrinter, progress: SweepProgress) -> None:
        quotes.append(told.quoted_usd)

    monkeypatch.setattr(SweepPrinter, "progressed", spy)  # the line is drawn now and then only
    opened(world, trials=2)
    assert world.touchstone("sweep", "priced.yaml", "--no-tracking").code == 0
    [state] = world.root.glob("reports/sweeps/*/spent.json")
    spent = json.loads(state.read_text())["usd"]
    assert 0 < spent < quotes[0]
    more = world.touchstone("sweep", "--resume", "--trials", "4", "--estimate", "--json").json["usd"]["likely"]  # type: ignore[index]
    quotes.clear()
    assert world.touchstone("sweep", "--resume", "--trials", "4", "--no-tracking").code == 0
    assert quotes[0] == pytest.approx(spent + more, rel=0.01)


def test_what_is_finished_is_not_priced_again(world: World) -> None:
    opened(world, trials=2)
    assert world.touchstone("sweep", "priced.yaml", "--no-tracking", "--json").code == 0
    [state] = world.root.glob("reports/sweeps/*/sweep.json")
    assert json.loads(state.read_text())["estimate"]["trials"] == 2
    said = world.touchstone("sweep", "--resume", "--trials", "5", "--estimate", "--json")
    assert said.json["trials"] == 3  # type: ignore[index]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


HOSTED = SweepEstimate(
    **dict.fromkeys(("trials", "finalists", "indexes", "case_usd", "index_usd", "proof_usd"), 1),
    **dict.fromkeys(("cases", "input_tokens", "output_tokens", "usd", "seconds"), Estimate(low=1, likely=2, high=3)),
    hosted=("acme:m",),
)


@pytest.mark.parametrize(("answer", "goes_on"), [("y\n", True), ("n\n", False), ("\n", False)])
def test_on_a_terminal_it_is_asked(answer: str, goes_on: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(answer))  # no fake of ours is a terminal
    if goes_on:
        confirm_price(HOSTED, yes=False)
    else:
        with pytest.raises(ConfigError, match="Not begun"):
            confirm_price(HOSTED, yes=False)


def test_models_of_this_machine_and_a_yes_need_no_question(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal("n\n")
    monkeypatch.setattr("sys.stdin", terminal)
    confirm_price(HOSTED, yes=True)
    confirm_price(HOSTED.model_copy(update={"hosted": ()}), yes=False)
    assert (terminal.tell(), *capsys.readouterr()) == (0, "", "")  # nothing was read, nothing said


def test_what_is_between_adds_and_multiplies_end_by_end() -> None:
    one, two = Estimate(low=1, likely=2, high=3), Estimate(low=10, likely=20, high=40)
    assert total([one, two]) == Estimate(low=11, likely=22, high=43)
    assert one * two == Estimate(low=10, likely=40, high=120)
    assert one * 2 == Estimate(low=2, likely=4, high=6)
    assert spread([one, two]) == Estimate(low=1, likely=11, high=40)
    assert (two + Estimate.exactly(5)) * Estimate.exactly(2) == Estimate(low=30, likely=50, high=90, bound=10)
    assert "bound" not in Estimate.exactly(5).model_dump()  # what a budget goes by is no part of a quote


def sampled(folder: Path, space: dict[str, Any], base: dict[str, Any] | None = None) -> tuple[Experiment, list[RagConfig]]:
    path = folder / "e.yaml"
    path.write_text(yaml.safe_dump({"name": "e", "golden": "t/v1", "base": base or CONFIG, "space": space, "trials": 30}))
    asked = load_experiment(path)
    return asked, sample(asked, [asked.config])


def test_a_sample_holds_the_base_and_every_end_of_every_knob_and_is_always_the_same(tmp_path: Path) -> None:
    space = SPACE | {
        "retrieve.neighbours": {"choice": [0, 1]},
        "index.chunker.size": {"int": [350, 100_000]},
        "retrieve.reranker.name": {"choice": ["none", "mmr"]},
        "retrieve.reranker.mmr.relevance": {"float": [0.2, 0.8]},
        "answer.max_tokens": {"choice": [4000], "when": {"retrieve.reranker.name": "mmr"}},
    }
    asked, configs = sampled(tmp_path, space)
    assert configs[0] == asked.config
    assert sampled(tmp_path, space)[1] == configs
    for knob in asked.knobs:
        assert set(knob.range.ends()) <= {config.flat().get(knob.target) for config in configs}, knob.path
    assert all(config.answer.max_tokens == (4000 if config.retrieve.reranker.name == "mmr" else 400) for config in configs)


def test_the_dearest_configuration_is_at_the_ends_of_all_knobs_that_cost(tmp_path: Path) -> None:
    space: dict[str, Any] = {
        f"retrieve.{name}": {"int": ends} for name, ends in {"top_k": [1, 50], "neighbours": [0, 5], "candidates": [1, 900]}.items()
    }
    space |= {"answer.context_tokens": {"int": [64, 90_000]}, "answer.max_tokens": {"int": [16, 8000]}}
    asked, configs = sampled(tmp_path, space)

    def usd(config: RagConfig) -> float:
        retrieve, answer = config.retrieve, config.answer
        return retrieve.top_k * (1 + 2 * retrieve.neighbours) * answer.context_tokens + retrieve.candidates + answer.max_tokens

    found = dearest(configs, asked, usd)
    assert (found.retrieve.top_k, found.retrieve.neighbours, found.retrieve.candidates) == (50, 5, 900)
    assert (found.answer.context_tokens, found.answer.max_tokens) == (90_000, 8000)


def test_values_that_do_not_go_together_are_no_configuration(tmp_path: Path) -> None:
    space = {"index.chunker.size": {"int": [100, 900], "step": 200}, "index.chunker.overlap": {"int": [0, 200], "step": 50}}
    asked, configs = sampled(tmp_path, space, {**CONFIG, "index": {"chunker": {"name": "recursive", "size": 500, "overlap": 0}}})
    found = dearest(configs, asked, lambda config: 1 / (config.index.chunker.params["size"] - config.index.chunker.params["overlap"]))
    assert found.index.chunker.params["overlap"] < found.index.chunker.params["size"]


def test_models_are_named_field_by_field_whatever_a_sample_holds(tmp_path: Path) -> None:
    space = {
        "route.router.name": {"choice": ["always", "rules"]},
        "answer.models.pro.name": {"choice": ["local:reader-pro", PRO], "when": {"route.router.name": "rules"}},
        "index.embedder.name": {"choice": ["local:hashing", TITAN]},
        "retrieve.reranker.name": {"choice": ["none", "bedrock"]},
    }
    base = {**with_chats(LITE, "local:reader-pro", route={"router": {"name": "always", "tier": "lite"}})}
    asked, _ = sampled(tmp_path, space, base)
    assert SpaceModels.of(asked, [asked.config]) == SpaceModels(
        (LITE, "local:reader-pro", PRO), ("local:hashing", TITAN), ("none", "bedrock")
    )
    del space["route.router.name"], space["answer.models.pro.name"]
    assert SpaceModels.of(sampled(tmp_path, space, base)[0], [asked.config]).chats == (LITE,)


def prompts(folder: Path, *lengths: tuple[str, int, int]) -> PromptLibrary:
    """Prompts by family, version and length."""
    for name, version, length in lengths:
        path = folder / "answer" / name / f"v{version}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        head = yaml.safe_dump({"purpose": "p", "changes": "c", "owner": "o", "variables": ["question"]})
        path.write_text(f"---\n{head}---\n# System\n{'x' * length}\n# User\n{{{{ question }}}}\n")
    return PromptLibrary(folder)


def test_the_longest_prompt_may_be_one_that_neither_name_nor_version_reaches_alone(tmp_path: Path) -> None:
    library = prompts(tmp_path, ("general", 1, 10), ("general", 2, 10), ("general", 3, 10), ("hr", 1, 10), ("hr", 2, 5000), ("hr", 3, 10))
    base = {**CONFIG, "answer": {"prompt": {"name": "general", "version": 1, "by_domain": False}}}
    space: dict[str, Any] = {"answer.prompt.name": {"choice": ["general", "hr"]}, "answer.prompt.version": {"int": [1, 3]}}

    def longest(library: PromptLibrary) -> int:
        _, configs = sampled(tmp_path, space, base)
        return max(len(text) for config in configs for text in library.texts(config.answer.prompt).values())

    assert longest(library) > 5000
    (tmp_path / "answer/hr/v2.md").unlink()
    with pytest.raises(PromptError, match="No version 2 of the prompt answer/hr"):
        longest(PromptLibrary(tmp_path))
    space["answer.prompt.version"]["when"] = {"answer.prompt.name": "general"}  # hr v2 is never tried
    assert longest(PromptLibrary(tmp_path)) < 5000


def test_a_model_that_only_a_router_and_a_tier_reach_together_is_priced_and_asked_about(world: World) -> None:
    always = {"router": {"name": "always", "tier": "lite"}}
    dear = estimated(world, base=with_chats(PRO, PRO, route=always))
    space = {"route.router.name": {"choice": ["always", "rules"]}, "answer.models.pro.name": {"choice": ["local:reader-pro", PRO]}}
    found = estimated(world, base=with_chats("local:reader-lite", "local:reader-pro", route=always), space=space)
    assert found.hosted == (PRO,)
    assert found.case_usd == pytest.approx(dear.case_usd)
    refused = world.touchstone("sweep", "priced.yaml", "--no-tracking")
    assert refused.code == 2
    assert f"{PRO} would be paid for" in refused.err


def test_an_index_is_priced_with_the_cut_and_the_model_that_make_it_dearest_together(world: World) -> None:
    local, titan = {**CONFIG, "index": {"embedder": {"name": "local:hashing"}}}, {"name": TITAN}
    cut: dict[str, Any] = {"chunker": {"name": "recursive", "size": 60, "overlap": 40}, "context": "heading"}
    dear = estimated(world, base={**CONFIG, "index": {"embedder": titan, **cut}})
    plain = estimated(world, base={**CONFIG, "index": {"embedder": titan, "context": "none"}})
    space = {
        "index.embedder.name": {"choice": ["local:hashing", TITAN]},
        "index.context": {"choice": ["none", "heading"]},
        "index.chunker.size": {"choice": [60, 900]},
        "index.chunker.overlap": {"choice": [0, 40]},
    }
    found = estimated(world, base={**local, "index": {**local["index"], "context": "none", "chunker": {"name": "recursive"}}}, space=space)
    assert found.index_usd == pytest.approx(dear.index_usd)
    assert found.index_usd > 1.5 * plain.index_usd
