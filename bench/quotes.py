"""What a sweep is said to cost before it begins, against what it has cost in the end.

    python bench/quotes.py [--old FOLDER] [--out reports/bench]

Small sweeps over a quarter of techcorp/v1: the shipped experiments cut to a few trials and cases, with local readers at the prices of the
models that they stand in for, and some with hosted models, which a double of Bedrock on this machine stands in for. Nothing is kept from
before. FOLDER is a checkout of an older version, which is asked for its quotes of the same sweeps: git worktree add FOLDER COMMIT.
Writes reports/bench/quotes.{json,md}.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml
from _bench import machine, machine_line, table, write_report

from harness.settings import read_settings
from harness.sweep.experiment import load_experiment
from harness.sweep.folder import SweepFolder
from harness.sweep.run import run_sweep
from harness.sweep.setup import SweepOptions, open_sweep
from tests.doubles.bedrock import CREDENTIALS, BedrockDouble, Call, Reply

GOLDEN, PART = "techcorp/v1", 4  # every fourth case
SHIPPED = ("quickstart", "prompts", "routing", "cost", "retrieval", "everything")
CUT: dict[str, Any] = {"trials": 6, "cases": 24, "finalists": 1, "block": 12}
LITE, PRO = "bedrock_converse:amazon.nova-lite-v1:0", "bedrock_converse:amazon.nova-pro-v1:0"
TITAN = "bedrock:amazon.titan-embed-text-v2:0"
HOSTED: dict[str, dict[str, Any]] = {  # beside the quickstart's own space
    "hosted answers": {},
    "hosted answers, judged": {"metrics": ["quality", "judge_groundedness", "judge_context_relevance"], "judge": f"llm:{PRO}"},
    "hosted answers, vectors and reranking": {},
}
SAID = '{"reason": "So it says there.", "label": "supported"}'  # an answer to any question, and a judge's verdict


def furnish(root: Path) -> None:
    """The documents, and a part of the golden set."""
    source, copy = Path("datasets"), root / "datasets"
    (copy / "corpora").parent.mkdir(parents=True)
    (copy / "corpora").symlink_to((source / "corpora").absolute())
    folder = copy / "golden" / GOLDEN
    folder.mkdir(parents=True)
    (folder / "CARD.md").write_text((source / "golden" / GOLDEN / "CARD.md").read_text())
    lines = (source / "golden" / GOLDEN / "cases.jsonl").read_text().splitlines(keepends=True)
    (folder / "cases.jsonl").write_text("".join(lines[::PART]))
    for name in SHIPPED:
        data = yaml.safe_load(Path(f"experiments/{name}.yaml").read_text())
        data["base"].setdefault("index", {})["embedder"] = {"name": "local:hashing"}  # costs the same, and builds sooner; but no maxsim:
        data["space"] = {path: values for path, values in data["space"].items() if "maxsim" not in path}
        if reranker := data["space"].get("retrieve.reranker.name"):
            reranker["choice"].remove("maxsim")
        write(root, name, data | CUT)
    for name, changes in HOSTED.items():
        data = yaml.safe_load(Path("experiments/quickstart.yaml").read_text())
        data["base"]["answer"]["models"] = {"lite": {"name": LITE}, "pro": {"name": LITE}}
        data["space"]["answer.models.pro.name"] = {"choice": [LITE, PRO]}
        data["base"]["index"]["embedder"] = {"name": "local:hashing"}
        if "vectors" in name:
            data["base"]["index"]["embedder"] = {"name": TITAN}
            data["space"]["retrieve.reranker.name"] = {"choice": ["none", "bedrock"]}
        write(root, name, data | CUT | changes)


def write(root: Path, name: str, data: dict[str, Any]) -> None:
    file_name = name.replace(",", "").replace(" ", "-")
    (root / f"{file_name}.yaml").write_text(yaml.safe_dump(data | {"name": file_name}))


def replied(call: Call) -> Reply:
    return Reply(SAID, input_tokens=len(json.dumps(call.body)) // 4, output_tokens=40)


async def measured(path: Path) -> dict[str, Any]:
    """The quote of a sweep, and what it has cost."""
    setup = open_sweep(load_experiment(path), read_settings(), SweepOptions(tracking=False))
    estimate = await setup.estimate()
    result = await run_sweep(setup, SweepFolder(path.with_suffix("")), estimate)
    usd = estimate.usd.model_dump()
    return {"spent": result.spent_usd, "quote": usd, "case_usd": estimate.case_usd, "trials": len(result.trials)}


def old_quote(path: Path, checkout: Path) -> dict[str, Any]:
    """An older version's quote of the same sweep."""
    command = [sys.executable, "-m", "harness", "sweep", str(path), "--estimate", "--json", "--no-tracking"]
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    said = json.loads(subprocess.run(command, cwd=checkout, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout)
    return {"quote": said["usd"], "case_usd": said["case_usd"]}


def markdown(data: dict[str, Any]) -> str:
    rows = []
    for name, one in data["sweeps"].items():
        spent, quotes = one["spent"], [one["quote"], *([one["old"]["quote"]] if "old" in one else [])]
        cells = [f"{usd['low']:.4f} / {usd['likely']:.4f} / {usd['high']:.4f}" for usd in quotes]
        ratios = [f"{usd['likely'] / spent:.2f}, {usd['high'] / spent:.1f}" for usd in quotes]
        rows.append([name, f"{spent:.4f}", *(cell for pair in zip(cells, ratios, strict=True) for cell in pair)])
    kept = [one["quote"]["high"] >= one["spent"] for one in data["sweeps"].values()]
    quoted = [f"{which}low / likely / high" for which in (["", "before: "] if data["old"] else [""])]
    header = ["sweep", "spent", *(cell for name in quoted for cell in (name, "likely, high ÷ spent"))]
    off = {which: mean_factor([one["spent"] for one in data["sweeps"].values()], likely) for which, likely in likelies(data).items()}
    words = "; ".join(f"{which} by a factor of {factor:.2f}" for which, factor in off.items())
    return "\n\n".join(
        [
            "# What a sweep is said to cost, and what it costs",
            f"Machine: {machine_line(data['machine'])}. US dollars; local readers have the prices of the models that they stand in for, "
            f"hosted models are a double's. {CUT['trials']} trials of {CUT['cases']} cases and the proof of one finalist; "
            f"nothing kept from before. Made by `python bench/quotes.py{' --old FOLDER' if data['old'] else ''}`"
            + (f", the quotes of before by commit `{data['old']}`." if data["old"] else "."),
            table(header, rows),
            f"What was spent lies below the high end in {sum(kept)} of {len(kept)} sweeps. What is likely is off, on the geometric mean: "
            f"{words}. Pruned trials, and answers that one sweep needs twice (as when only the router varies), make a sweep cheaper "
            "than is said; a search that finds dear configurations better makes it dearer.",
        ]
    )


def likelies(data: dict[str, Any]) -> dict[str, list[float]]:
    found = {"now": [one["quote"]["likely"] for one in data["sweeps"].values()]}
    return found | ({"before": [one["old"]["quote"]["likely"] for one in data["sweeps"].values()]} if data["old"] else {})


def mean_factor(spent: list[float], likely: list[float]) -> float:
    """How far one is from the other, up or down: the geometric mean of the factors."""
    product = 1.0
    for one, other in zip(spent, likely, strict=True):
        product *= max(one / other, other / one)
    return float(product ** (1 / len(spent)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--old", type=Path, help="a checkout of an older version")
    parser.add_argument("--out", type=Path, default=Path("reports/bench"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, BedrockDouble(replied) as double:
        root = Path(folder)
        furnish(root)
        places = {"DATASETS": root / "datasets", "HOME": root / "home", "PROMPTS": Path("prompts").absolute(), "REPORTS": root / "reports"}
        os.environ.update({f"TOUCHSTONE_{name}": str(place) for name, place in places.items()})
        os.environ.update(CREDENTIALS | {"TOUCHSTONE_BEDROCK_ENDPOINT": double.url})
        subprocess.run([sys.executable, "-m", "harness", "golden", "seal", GOLDEN], check=True, stdout=subprocess.DEVNULL)
        sweeps: dict[str, Any] = {}
        for path in sorted(root.glob("*.yaml"), key=lambda path: path.stat().st_mtime_ns):
            os.environ["TOUCHSTONE_HOME"] = str(root / "homes" / path.stem)
            sweeps[path.stem] = asyncio.run(measured(path))
            if options.old:
                os.environ["TOUCHSTONE_HOME"] = str(root / "old" / path.stem)
                sweeps[path.stem]["old"] = old_quote(path, options.old)
            print(path.stem, sweeps[path.stem], flush=True)
    commit = ["git", "-C", str(options.old), "rev-parse", "--short", "HEAD"]
    old = subprocess.run(commit, check=True, stdout=subprocess.PIPE, text=True).stdout.strip() if options.old else ""
    data = {"machine": machine("genai-prices"), "old": old, "sweeps": sweeps}
    write_report("quotes", data, markdown(data), options.out)
    print(markdown(data))


if __name__ == "__main__":
    main()
