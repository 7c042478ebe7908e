"""Writes docs/metrics.md from the metrics themselves: `make docs`."""

import inspect
import math
from pathlib import Path
from typing import Any

from harness.metrics import GROUPS, METRICS

PAGE = Path(__file__).with_name("metrics.md")
HEAD = """# Metrics

What `touchstone eval` can score an answer by. A score is a number; where there is nothing to say it is no number but a reason, and every
mean stands beside how many cases it was scored on. Made by `make docs`; how to add one: [extending](extending.md).

- `@k`: where the list is cut, as in `recall@5`; 10 where none is given. The rankings (`recall` to `map`, `coverage`, `doc_…`) are scored
  on the first k places **before** `top_k` cuts the list and before neighbours are added (documents among the first 50 places), so that
  handing on more hits does not look like ranking better. `span_…`, `duplicate_rate` and `context_relevance` look at the hits that were
  handed on.
- better: whether `higher` or `lower` is better. range: what a value can be.
- reads: what of a trace decides the score: the `hits`, the `answer` (with its passages and prompt), or the `run` (tokens, dollars, time).
- case: `needed` where the score takes a golden case; all others are also given of a bare trace, such as one of real traffic.
- needs: an `embedder` (an embedding model, `local:minilm` by default) or a `judge`. All others are computed.
- `refusal` is right of all; read the two mistakes apart: `missed_refusal` (answered what cannot be answered) and `over_refusal`.
- times (`latency_ms`, `first_token_ms`) are of answers that were computed; one that was kept from before has none.
- version: raised whenever the same trace would get another score; kept scores of an older version are not used.
"""
GROUPS_HEAD = """
## Groups

A word for several metrics, wherever names of metrics are given.

| group | metrics |
|---|---|
"""


def page() -> str:
    """The whole page."""
    rows = "".join(_row(name, METRICS.load(name)) for name in METRICS.own_names())
    groups = "".join(f"| `{group}` | {', '.join(f'`{name}`' for name in names)} |\n" for group, names in GROUPS.items())
    columns = "\n## All\n\n| metric | what it says | better | range | reads | case | needs | version |\n|---|---|---|---|---|---|---|---|\n"
    return HEAD + GROUPS_HEAD + groups + columns + rows


def _row(name: str, kind: Any) -> str:
    says = (inspect.getdoc(kind) or "").partition("\n\n")[0].replace("\n", " ").replace("|", r"\|")
    cutoff = "@k" if "k" in kind.Params.model_fields else ""
    low, high = ("∞" if math.isinf(end) else f"{end:g}" for end in kind.range)
    case = "needed" if kind.needs_case else ""
    return f"| `{name}{cutoff}` | {says} | {kind.direction} | {low} to {high} | {kind.reads} | {case} | {_needs(kind)} | {kind.version} |\n"


def _needs(kind: Any) -> str:
    if kind.needs_judge:
        return "judge"
    return "embedder" if "tools" in inspect.signature(kind).parameters else ""


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
