"""MiniLM on ONNX Runtime (fp32, int8) against sentence-transformers on torch, in one run on one machine.

    python bench/embed.py                        1,000 chunks, the TechCorp documents
    python bench/embed.py --chunks 300 --set ~/data/handbook

Torch lives in an environment of its own, made on the first run; a set is a folder with `passages.jsonl` or `corpus.jsonl`
({id, title, text}) and `golden.jsonl` ({id, question, relevant_ids}). Every contender is a process fed over pipes; they take
turns on the same chunks, so that a busy machine slows all of them and the ratios stand. Writes reports/bench/embed.{json,md}.
"""

import argparse
import base64
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CONTENDERS = ("torch", "fp32", "int8")
CHUNK_TOKENS = 190
SLICE = 20  # chunks timed at a time: short, so that some pieces of each pass undisturbed on a busy machine
TARGETS = {"fp32": {"ratio": 1.8, "cosine_mean": 0.9999}, "int8": {"ratio": 3.5, "cosine_mean": 0.998}}
QUERY = "How many days of paid leave does a new colleague get in case {}?"  # 15 tokens or so


# ---- the contenders: this file again, in a process of its own -------------------------------------------------------------


def work(contender: str, folder: str) -> None:
    """Answer requests, one JSON line each, until the pipe closes."""
    wire = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints goes to the log
    embed, versions = (torch_embedder if contender == "torch" else onnx_embedder)(folder, contender)
    embed(["ready"])
    print(json.dumps({"versions": versions}), file=wire, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        start = time.perf_counter()
        vectors = embed(request["texts"])
        reply = {"seconds": time.perf_counter() - start, "rss_mb": rss_mb()}
        if request["vectors"]:
            reply["vectors"] = base64.b64encode(vectors.astype("<f4").tobytes()).decode()
        print(json.dumps(reply), file=wire, flush=True)


def torch_embedder(folder: str, _: str) -> tuple[Any, dict[str, str]]:
    import sentence_transformers
    import torch

    model = sentence_transformers.SentenceTransformer(folder, device="cpu")

    def embed(texts: list[str]) -> Any:
        return model.encode(texts, batch_size=32, normalize_embeddings=True, show_progress_bar=False)

    return embed, {"torch": torch.__version__, "sentence-transformers": sentence_transformers.__version__}


def onnx_embedder(_: str, precision: str) -> tuple[Any, dict[str, str]]:
    from importlib.metadata import version

    from serving.pipeline.models.minilm import MiniLm
    from serving.pipeline.settings import PipelineSettings

    model = MiniLm(MiniLm.Params(precision=precision), settings=PipelineSettings()).connect()
    return model.vectors, {"onnxruntime": version("onnxruntime"), "tokenizers": version("tokenizers")}


def rss_mb() -> float | None:
    """Memory this process holds now, where the system tells it."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    [line] = [line for line in status.read_text().splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) / 1024


class Contender:
    """A worker process and how long it took from start to its first vector."""

    def __init__(self, name: str, python: Path, folder: Path, log: Path) -> None:
        environment = os.environ | {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "true"}
        environment.pop("PYTHONPATH", None)
        if name != "torch":
            environment |= {"PYTHONPATH": str(ROOT), "TOUCHSTONE_MINILM": str(folder)}
        self.name = name
        self._log = log.open("a")
        start = time.perf_counter()
        self._process = subprocess.Popen(
            [python, "-P", __file__, "--worker", name, "--folder", folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            encoding="utf-8",
            env=environment,
        )
        self.versions: dict[str, str] = self._read()["versions"]
        self.cold_s = time.perf_counter() - start

    def embed(self, texts: list[str], *, vectors: bool = False) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"texts": texts, "vectors": vectors}) + "\n")
        self._process.stdin.flush()
        return self._read()

    def matrix(self, texts: list[str]) -> Any:
        import numpy as np

        return np.frombuffer(base64.b64decode(self.embed(texts, vectors=True)["vectors"]), "<f4").reshape(len(texts), -1)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._log.close()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"The {self.name} worker ended early; see {self._log.name}.")
        reply: dict[str, Any] = json.loads(line)
        return reply


def make_environment(folder: Path, torch: str, find_links: str | None) -> Path:
    """The Python of the environment with torch, made on the first run."""
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if subprocess.run([python, "-c", "import sentence_transformers"], capture_output=True).returncode if python.exists() else True:
        source = ["--find-links", find_links] if find_links else ["--torch-backend", "cpu"]
        subprocess.run(["uv", "venv", "--quiet", "--clear", "--python", sys.executable, folder], check=True)
        subprocess.run(["uv", "pip", "install", "--quiet", "--python", python, *source, torch, "sentence-transformers"], check=True)
    return python


# ---- what they are given ---------------------------------------------------------------------------------------------------


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def read_set(folder: Path, most: int, seed: random.Random) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """Passages by id and questions; a large set is thinned to `most` passages, those that answer first."""
    path = next(path for path in (folder / "passages.jsonl", folder / "corpus.jsonl") if path.exists())
    passages = {row["id"]: f"{row.get('title', '')}\n{row['text']}".strip() for row in read_jsonl(path)}
    questions = [row for row in read_jsonl(folder / "golden.jsonl") if row["relevant_ids"]]
    seed.shuffle(questions)
    kept: list[str] = []
    chosen = []
    for question in questions:
        fresh = [name for name in question["relevant_ids"] if name not in kept]
        if len(kept) + len(fresh) <= most // 2 or len(passages) <= most:
            kept += fresh
            chosen.append(question)
    rest = [name for name in passages if name not in kept]
    seed.shuffle(rest)
    return {name: passages[name] for name in kept + rest[: most - len(kept)]}, chosen


def techcorp(most: int, seed: random.Random) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """Paragraphs of the TechCorp documents; a question is eight of a paragraph's words, in any order."""
    files = sorted(path for path in (ROOT / "datasets/corpora/techcorp").rglob("*") if path.suffix in {".md", ".txt"})
    paragraphs = [text.strip() for path in files for text in path.read_text(encoding="utf-8").split("\n\n") if len(text.split()) > 30]
    passages = {f"p{index:05}": text for index, text in enumerate(paragraphs[:most])}
    questions = [
        {"id": f"q-{name}", "question": " ".join(seed.sample(text.split(), 8)), "relevant_ids": [name]}
        for name, text in list(passages.items())[:300]
    ]
    return passages, questions


def cut(texts: list[str], count: int, folder: Path) -> list[str]:
    """That many different chunks of about 190 tokens; when the texts run out, again from a few words further on."""
    import tokenizers

    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    text = "\n".join(texts)[: count * CHUNK_TOKENS * 8]
    starts = [start for start, end in tokenizer.encode(text, add_special_tokens=False).offsets]
    if len(starts) < 2 * CHUNK_TOKENS:
        raise SystemExit("The set has too little text to cut chunks from: name another with --set.")

    def passes() -> Iterator[str]:
        for shift in range(0, CHUNK_TOKENS, 7):
            bounds = starts[shift::CHUNK_TOKENS]
            yield from (text[a:b] for a, b in pairwise(bounds))

    chunks = list(dict.fromkeys(passes()))[:count]
    if len(chunks) < count:
        print(f"The set gives {len(chunks)} chunks only.", file=sys.stderr)
    return chunks


# ---- what is measured ------------------------------------------------------------------------------------------------------


def cold_starts(python: dict[str, Path], folder: Path, log: Path, rounds: int) -> tuple[dict[str, list[float]], dict[str, Contender]]:
    """Seconds from process start to the first vector, taking turns; the last of each stays for the other measures."""
    seconds: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    alive: dict[str, Contender] = {}
    for turn in range(rounds + 1):  # the first round fills the disk cache and is not counted
        for name in CONTENDERS:
            contender = Contender(name, python[name], folder, log)
            if turn:
                seconds[name].append(contender.cold_s)
            if turn == rounds:
                alive[name] = contender
            else:
                contender.close()
    return seconds, alive


def in_turns(contenders: dict[str, Contender], pieces: list[list[str]]) -> dict[str, list[float]]:
    """Seconds each took for each piece, the one who begins changing from piece to piece."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    names = list(contenders)
    for turn, piece in enumerate(pieces):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            seconds[name].append(contenders[name].embed(piece)["seconds"])
    return seconds


def parity(matrices: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Cosine of each text's vector with torch's."""
    cosines = {name: (matrix * matrices["torch"]).sum(axis=1) for name, matrix in matrices.items() if name != "torch"}
    return {name: {"cosine_min": float(values.min()), "cosine_mean": float(values.mean())} for name, values in cosines.items()}


def ndcg(contender: Contender, passages: dict[str, str], questions: list[dict[str, Any]]) -> float:
    """Mean nDCG@10 of plain cosine search, by ir-measures."""
    import ir_measures
    import numpy as np

    ids = sorted(passages)
    scores = contender.matrix([q["question"] for q in questions]) @ contender.matrix([passages[name] for name in ids]).T
    run, qrels = {}, {}
    for question, row in zip(questions, scores, strict=True):
        best = np.argsort(-row, kind="stable")[:10]
        run[question["id"]] = {ids[index]: float(row[index]) for index in best}
        qrels[question["id"]] = dict.fromkeys(question["relevant_ids"], 1)
    measure = ir_measures.nDCG @ 10
    return float(ir_measures.calc_aggregate([measure], qrels, run)[measure])


def paired(base: list[float], other: list[float]) -> dict[str, float]:
    """How many times as fast, piece by piece, and between each one's least disturbed piece.

    Torch's threads wait for one another, so a busy machine may slow it more than it slows us and flatter the first figure.
    """
    ratios = sorted(a / b for a, b in zip(base, other, strict=True))
    return {
        "ratio": statistics.median(ratios),
        "ratio_low": ratios[len(ratios) // 10],
        "ratio_high": ratios[-1 - len(ratios) // 10],
        "ratio_of_best": min(base) / min(other),
    }


def machine() -> dict[str, Any]:
    """What the figures hold for."""
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in info.splitlines())}
    flags = set(facts.get("flags", "").split())
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cpu": facts.get("model name", platform.processor() or platform.machine()),
        "vnni": bool(flags & {"avx512_vnni", "avx_vnni"}),
        "cores": cores,
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
    }


def load() -> float | None:
    """How many processes wanted a core in the last minute."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def measure(options: argparse.Namespace, python: dict[str, Path], folder: Path) -> dict[str, Any]:
    seed = random.Random(7)
    passages, questions = read_set(options.set, options.passages, seed) if options.set else techcorp(options.passages, seed)
    chunks = cut(list(passages.values()), options.chunks, folder)
    about = machine() | {"load_before": load()}
    cold, contenders = cold_starts(python, folder, options.work / "embed-workers.log", options.cold)
    say(f"{len(chunks)} chunks in turns …")
    for contender in contenders.values():
        contender.embed([f"Warm: {chunk}" for chunk in chunks[:4]])  # not the chunks themselves: a vector may be remembered
    pieces = [chunks[start : start + SLICE] for start in range(0, len(chunks), SLICE)]
    if len(pieces) > 1 and len(pieces[-1]) < SLICE:
        pieces.pop()
    seconds = in_turns(contenders, pieces)
    queries = in_turns(contenders, [[QUERY.format(number)] for number in range(100, 100 + options.queries)])
    rss = {name: contender.embed(["done"])["rss_mb"] for name, contender in contenders.items()}
    say(f"parity on {len(passages)} passages, {len(questions)} questions …")
    agree = parity({name: contender.matrix(chunks) for name, contender in contenders.items()})
    found = {name: ndcg(contender, passages, questions) for name, contender in contenders.items()}
    counted = sum(map(len, pieces))
    results = {
        name: {
            "chunks_per_s": counted / sum(seconds[name]),
            "query_ms": statistics.median(queries[name]) * 1000,
            "cold_start_s": statistics.median(cold[name]),
            "rss_mb": rss[name],
            "ndcg_10": found[name],
            **(paired(seconds["torch"], seconds[name]) | agree[name] if name != "torch" else {}),
        }
        for name in contenders
    }
    for name, target in TARGETS.items():
        results[name]["targets_met"] = all(results[name][key] >= least for key, least in target.items())
    versions = {key: value for contender in contenders.values() for key, value in contender.versions.items()}
    for contender in contenders.values():
        contender.close()
    return {
        "machine": about | {"versions": versions},
        "set": {
            "name": options.set.name if options.set else "techcorp",
            "passages": len(passages),
            "questions": len(questions),
            "chunks": counted,
        },
        "targets": TARGETS,
        "results": results,
    }


# ---- what is written -------------------------------------------------------------------------------------------------------


def as_markdown(report: dict[str, Any]) -> str:
    """The report for people."""
    host, data, results = report["machine"], report["set"], report["results"]
    rows = [
        ("chunks/s", "chunks_per_s", "{:.1f}"),
        ("times torch (median of pairs)", "ratio", "{:.2f}"),
        ("… 10th to 90th percentile", "ratio_low", "{:.2f}"),
        ("… least disturbed piece of each", "ratio_of_best", "{:.2f}"),
        ("query of 15 tokens, ms", "query_ms", "{:.1f}"),
        ("cold start, s", "cold_start_s", "{:.2f}"),
        ("resident memory, MB", "rss_mb", "{:.0f}"),
        ("cosine with torch, mean", "cosine_mean", "{:.5f}"),
        ("cosine with torch, least", "cosine_min", "{:.5f}"),
        ("nDCG@10", "ndcg_10", "{:.4f}"),
    ]

    def cell(result: dict[str, Any], key: str, form: str) -> str:
        if result.get(key) is None:
            return "–"
        return form.format(result[key]) + (f"–{form.format(result['ratio_high'])}" if key == "ratio_low" else "")

    table = [f"| {title} | " + " | ".join(cell(results[name], key, form) for name in CONTENDERS) + " |" for title, key, form in rows]
    verdicts = []
    for name, target in TARGETS.items():
        verdict = "met" if results[name]["targets_met"] else "MISSED"
        verdicts.append(f"- {name}: {', '.join(f'{key} ≥ {least}' for key, least in target.items())}: {verdict}")
    versions = ", ".join(f"{key} {value}" for key, value in host["versions"].items())
    vnni = "with" if host["vnni"] else "without"
    return "\n".join(
        [
            "# MiniLM without torch",
            "",
            f"`bench/embed.py` on {host['cpu']}, {host['cores']} cores, {vnni} VNNI, {host['system']}, "
            f"Python {host['python']}, {versions}; load before the run {host['load_before']}. "
            "Targets are held against the median of pairs.",
            f"{data['chunks']} chunks of about {CHUNK_TOKENS} tokens, {SLICE} at a time in turns. nDCG@10: cosine search in "
            f"{data['passages']} passages of {data['name']} for {data['questions']} questions.",
            "",
            "| | torch | onnx fp32 | onnx int8 |",
            "|---|---|---|---|",
            *table,
            "",
            "Targets:",
            *verdicts,
            "",
        ]
    )


def write(path: Path, text: str) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, default=1000)
    parser.add_argument("--queries", type=int, default=60)
    parser.add_argument("--cold", type=int, default=3, help="cold starts counted")
    parser.add_argument("--set", type=Path, help="a folder with passages and questions; default: TechCorp's documents")
    parser.add_argument("--passages", type=int, default=1000, help="passages of the set to use at most")
    parser.add_argument("--work", type=Path, default=Path(".touchstone/bench"), help="where torch's environment and the log are kept")
    parser.add_argument("--torch", default="torch", help="requirement to install, e.g. torch==2.13.0+cpu")
    parser.add_argument(
        "--find-links", default=os.environ.get("TORCH_FIND_LINKS"), help="a folder or page of wheels; default: PyTorch's CPU index"
    )
    parser.add_argument("--out", type=Path, default=Path("reports/bench"))
    parser.add_argument("--worker", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.worker, options.folder)
        return

    from serving.pipeline.models.minilm import find_folder
    from serving.pipeline.settings import PipelineSettings

    options.work.mkdir(parents=True, exist_ok=True)
    torch = make_environment((options.work / "embed-venv").absolute(), options.torch, options.find_links)
    folder = find_folder(PipelineSettings()).resolve()
    own = Path(sys.executable)
    report = measure(options, {"torch": torch, "fp32": own, "int8": own}, folder)
    write(options.out / "embed.json", json.dumps(report, indent=2) + "\n")
    write(options.out / "embed.md", as_markdown(report))
    print(as_markdown(report))


if __name__ == "__main__":
    main()
