"""How near the best of a whole grid a search gets for a part of its price: TPE with pruning, random, and stage by stage.

    python bench/sweep_quality.py [--golden techcorp/v1] [--cases 120] [--runs 30] [--table FOLDER] [--out reports/bench]

First every point of the grid below is scored on tune and holdout cases, once, into a table (`--table`, gone on with when it is there).
Then searches are run on that table many times: the sweep's own optimizer and pruner, fed with the table's scores instead of answers.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from _bench import machine, machine_line, table, write_report

from harness.evaluate import Evaluator
from harness.golden.load import load_golden
from harness.golden.sets import Split
from harness.opening import open_corpus, open_stages, open_tools, open_workshop, read_settings
from harness.stats.sequential import surely_worse
from harness.sweep.experiment import Experiment
from harness.sweep.optimizer import Optimizer
from harness.sweep.space import grid
from harness.sweep.trial import Tried

METRIC = "quality"
SHARES = (0.1, 0.2, 0.4)
SPACE: dict[str, Any] = {
    "index.chunker.size": {"choice": [250, 400, 600, 900]},
    "retrieve.search.name": {"choice": ["hybrid", "vector", "keyword"]},
    "retrieve.fusion.weight": {"float": [0.1, 0.9], "step": 0.2, "when": {"retrieve.search.name": "hybrid"}},
    "retrieve.duplicate_similarity": {"choice": [0.7, 0.95]},
    "retrieve.top_k": {"choice": [2, 4, 7]},
    "route.router.pro_above": {"choice": [0.6, 1.0]},
}
BASE = {
    "index": {"chunker": {"name": "recursive", "size": 900, "overlap": 60}},
    "retrieve": {"fusion": {"name": "weighted", "weight": 0.5}},
    "route": {"router": {"name": "rules", "pro_domains": []}},
}


def experiment(golden: str, **changes: Any) -> Experiment:
    """The grid as the sweep sees it."""
    return Experiment.model_validate({"name": "grid", "golden": golden, "base": BASE, "space": SPACE, "metrics": [METRIC], **changes})


# ---- the table


async def fill(path: Path, golden_name: str, cases: int, store: Path | None) -> None:
    """Score what is missing; a line per configuration."""
    places = read_settings()
    golden = load_golden(places.datasets, golden_name)
    asked = experiment(golden_name)
    splits: list[Split] = [golden.tune().head(cases), golden.holdout(why="bench", ledger=path.with_suffix(".looks"))]
    stages = open_stages(places)
    shop = open_workshop(open_corpus(golden.card.corpus, places), places, stages)
    evaluator = Evaluator((METRIC,), concurrency=2, tools=open_tools("", places, stages), stages=stages)
    known = {json.dumps(row["values"], sort_keys=True) for row in lines(path)}
    points = sorted(grid(asked), key=lambda values: [str(values.get(name)) for name in SPACE])  # neighbours share an index and its passages
    for number, values in enumerate(points, start=1):
        if json.dumps(values, sort_keys=True) in known:
            continue
        begin, config = time.perf_counter(), asked.apply(values)
        reports = [await shop.evaluate(config, split, evaluator) for split in splits]
        assert not any(report.errors for report in reports)
        tune, holdout = ([row.value(METRIC) for row in report.rows] for report in reports)
        ids = [[row.case.id for row in report.rows] for report in reports]
        with path.open("a") as file:
            file.write(json.dumps({"values": values, "tune": tune, "holdout": holdout, "ids": ids}) + "\n")
        print(f"{number}/{len(points)} {values} {time.perf_counter() - begin:.1f} s", flush=True)


def lines(path: Path) -> Iterator[dict[str, Any]]:
    if path.exists():
        yield from map(json.loads, path.read_text().splitlines())


if __name__ == "__main__":
    import sys
    asyncio.run(fill(Path(sys.argv[1]), "techcorp/v1", 120, None))
