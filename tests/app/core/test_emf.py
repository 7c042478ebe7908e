"""Metrics for CloudWatch, as lines of its Embedded Metric Format."""

import asyncio
import json
from dataclasses import replace

import pytest

from infra.observability.series import app_series
from serving.app.core.emf import CLOUDWATCH, MetricLines
from serving.app.core.metrics import Metrics
from serving.pipeline.types import GuardAction, GuardVerdict, Usage
from tests.app.making import House, opened
from tests.support.making import a_hit, a_trace

MOST_METRICS = 100  # of one line, by the specification
MOST_BYTES = 256 * 1024  # of a log event


def lines_of(metrics: Metrics, at: float = 1_000_000.0) -> MetricLines:
    return MetricLines(metrics.registry, "prod", wall=lambda: at)


def test_a_line_says_what_happened_since_the_one_before() -> None:
    metrics = Metrics()
    lines = lines_of(metrics)
    metrics.request("/v1/query", 200, 0.1)
    metrics.request("/v1/query", 503, 3.0)
    metrics.request("/metrics", 200, 0.1)
    metrics.answered(replace(a_trace(a_hit(0, 5), answer="x"), usage=(Usage("m", usd=0.25),)))
    first = json.loads(lines.line())
    assert (first["Requests"], first["Errors"], first["FastRequests"]) == (2, 1, 1)
    assert (first["Queries"], first["Answers"], first["Usd"]) == (1, 1, 0.25)
    metrics.request("/v1/query/stream", 500, 0.1)
    metrics.answered(replace(a_trace(refused=True), role="shadow"))
    second = json.loads(lines.line())
    assert (second["Requests"], second["Errors"]) == (1, 1)
    # a shadow's answer is shown to nobody, and nobody asked it
    assert (second["Queries"], second["Answers"], second["Refusals"], second["Usd"]) == (0, 0, 0, 0)


def test_a_line_is_what_cloudwatch_takes_for_metrics_and_stays_small() -> None:
    metrics = Metrics()
    for number in range(500):  # whatever names come from outside
        verdict = GuardVerdict("input", GuardAction.BLOCK, "", check=f"check {number}", rule=f"rule {number}")
        metrics.answered(replace(a_trace(), guard=(verdict,)))
        metrics.request(f"/route/{number}", 200, 0.1)
    line = lines_of(metrics).line()
    read = json.loads(line)
    [directive] = read["_aws"]["CloudWatchMetrics"]
    assert read["_aws"]["Timestamp"] == 1_000_000_000
    assert (directive["Namespace"], directive["Dimensions"], read["Channel"]) == ("Touchstone", [["Channel"]], "prod")
    assert 0 < len(directive["Metrics"]) <= MOST_METRICS
    assert all(isinstance(read[metric["Name"]], int | float) for metric in directive["Metrics"])
    assert line.count("\n") == 1 and len(line) < 8_000 < MOST_BYTES
    assert read["GuardBlocks"] == 500


def test_every_number_is_read_from_a_series_that_the_server_has() -> None:
    series = app_series()
    for metric in CLOUDWATCH:
        assert metric.where.keys() <= series[metric.series], metric.name
    assert len({metric.name for metric in CLOUDWATCH}) == len(CLOUDWATCH)


def test_a_counter_that_began_anew_is_no_negative_number() -> None:
    metrics = Metrics()
    lost = 9.0
    metrics.watch_traces(lambda: lost, lambda: 3, lambda: 0)
    lines = lines_of(metrics)
    assert json.loads(lines.line())["TracesLost"] == 9
    lost = 2.0
    again = json.loads(lines.line())
    assert (again["TracesLost"], again["TracesWaiting"]) == (2, 3)


def test_there_is_no_age_of_an_index_that_is_not_there() -> None:
    read = json.loads(lines_of(Metrics()).line())
    assert "IndexAge" not in read
    assert "IndexAge" not in [metric["Name"] for metric in read["_aws"]["CloudWatchMetrics"][0]["Metrics"]]


async def test_lines_come_while_it_runs_and_a_last_one_when_it_ends() -> None:
    metrics, written, slept = Metrics(), [], asyncio.Event()
    lines = MetricLines(metrics.registry, "dev", write=written.append)

    async def prepare() -> None:
        metrics.request("/v1/query", 200, 0.1)

    async def sleep(seconds: float) -> None:
        assert seconds == 60
        if written:
            slept.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(lines.run(prepare, sleep))
    await slept.wait()
    metrics.request("/v1/query", 200, 0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [json.loads(line)["Requests"] for line in written] == [1, 1]


async def test_the_server_writes_them_where_it_is_told_to(furnished: House, capsys: pytest.CaptureFixture[str]) -> None:
    async with opened(furnished.settings()) as api:
        await api.ask()
    assert "_aws" not in capsys.readouterr().out
    async with opened(furnished.settings(emf=True)) as api:
        await asyncio.sleep(0)  # its task begins
        answer = (await api.ask()).json()
        await api.client.get("/metrics")
    [line] = capsys.readouterr().out.splitlines()
    read = json.loads(line)
    assert (read["Requests"], read["Answers"], read["Ready"], read["ReleaseCurrent"]) == (1, 1, 1, 1)
    assert read["Usd"] == pytest.approx(answer["usage"]["usd"], abs=1e-9)
    assert read["IndexAge"] >= 0


async def test_lines_go_on_after_one_whose_numbers_could_not_be_brought_up_to_date() -> None:
    metrics, written, slept = Metrics(), [], asyncio.Event()

    async def prepare() -> None:
        if not written:
            raise RuntimeError("a part that is being swapped")

    async def sleep(seconds: float) -> None:
        if len(written) == 2:
            slept.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(MetricLines(metrics.registry, "dev", write=written.append).run(prepare, sleep))
    async with asyncio.timeout(30):
        await asyncio.wait({task, asyncio.create_task(slept.wait())}, return_when=asyncio.FIRST_COMPLETED)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
