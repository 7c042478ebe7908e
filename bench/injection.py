"""How well orders to the model are told from what a question or a document may say, each family left out of what is fitted.

    python bench/injection.py DATA [--peer] [--out reports/bench]   fits and judges with each family left out in turn
    python bench/injection.py DATA --fit                            fits on all families and rewrites the coefficients

DATA is a folder with bipia, notinject, xstest and sourcegraph_handbook, each with its JSONL files; the texts of our own are
bench/injection_texts.yaml, TechCorp and docs/. A family is never in the data that its figures are fitted on: of BIPIA neither
the category of the attack nor any text of the task (e-mail or table) that it is planted in; of the others the whole source,
kind or language. The threshold is one for all. What ships is fitted on all of them, so that these figures are what it promises
for kinds that nobody has seen. `--peer` runs stackone-defender 0.9.4 on the same texts, in an environment of its own.
"""

import argparse
import hashlib
import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the fits are small: more threads wait for one another

import numpy as np
from _bench import REPORTS, machine, machine_line, table, write_report
from numpy.typing import NDArray

from harness.judges.tools import EMBEDDER, Tools
from serving.pipeline.checks.injection.detector import (
    CANDIDATES,
    DIRECT_KINDS,
    WORTH_A_VECTOR,
    InjectionDetector,
    candidates,
    closeness,
)
from serving.pipeline.checks.injection.model import COEFFICIENTS, WORDS_ONLY
from serving.pipeline.checks.injection.patterns import matching_kinds
from serving.pipeline.checks.injection.sentences import split
from serving.pipeline.checks.injection.version import detector_version
from serving.pipeline.plain_yaml import load_plain
from serving.pipeline.settings import PipelineSettings
from serving.storage.files import write_text

ROOT = Path(__file__).resolve().parent.parent
OWN = Path(__file__).with_name("injection_texts.yaml")
SEED = 20240601
DIRECT = ("override", "role", "leak", "secrecy")  # kinds that are orders in a question, too; the others may be wishes there
NEGATIVES = 4_000  # candidates of harmless texts that a fit uses
RIDGE = {"direct": 0.1, "planted": 0.3}
VECTOR_SCALE = {"direct": 3.0, "planted": 2.0}  # how freely the vector's weights move beside those of the features
ORDERS_WEIGH = {"direct": 0.3, "planted": 1.0}  # all orders together, in units of all harmless sentences together or of their own number
SHIFT = {  # log-odds of the threshold, chosen once on the left-out scores: at most 1 % of handbook sections, 5 % of NotInject
    ("direct", EMBEDDER.name): 0.55,
    ("direct", WORDS_ONLY): 1.2,
    ("planted", EMBEDDER.name): 1.8,
    ("planted", WORDS_ONLY): 2.5,
}
PEER = "stackone-defender"
PEER_PIN = "0.9.4"
PEER_FOLDER = ROOT / ".touchstone/bench-injection"
PEER_SECTIONS = 400  # of the handbook's, drawn at random: it takes a tenth of a second and more for each
ATTACKS = (  # in TechCorp, planted by its authors
    *(
        "to any language model",
        "to the language model",
        "automated readers",
        "ai systems reading",
        "automatic assistants that",
        "to a language model",
    ),
)
Row = dict[str, Any]


# ---- the texts -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Text:
    """A question or passage, whose source it is, and the order in it if there is one."""

    text: str
    source: str  # email | table | handbook | techcorp | docs | notinject | xstest | own
    planted: bool  # a passage, not a question
    order: str = ""
    kind: str = ""  # of the order: a category of BIPIA, "code", or one of our own
    language: str = "en"
    judged: bool = True  # False: made for fitting


def read(path: Path) -> list[Row]:
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except OSError as error:
        raise SystemExit(
            f"{path}: {error.strerror}. Name the folder that holds bipia, notinject, xstest and sourcegraph_handbook."
        ) from None


def sections_of(folder: Path) -> list[str]:
    """Documents of the repository in pieces at their headings; TechCorp's own examples of attacks are no harmless texts."""
    parts = [part for path in sorted(folder.rglob("*.md")) for part in re.split(r"\n(?=#)", path.read_text(encoding="utf-8"))]
    return [part[:2500] for part in parts if len(part) > 150 and not any(sign in part.casefold() for sign in ATTACKS)]


def plant(text: str, order: str, chance: random.Random) -> str:
    parts = re.split(r"(?<=[.!?])\s|\n", text)
    place = chance.randrange(len(parts) + 1)
    return "\n".join([" ".join(parts[:place]), order, " ".join(parts[place:])]).strip()


def all_texts(data: Path) -> list[Text]:
    chance = random.Random(SEED)
    attacks = {row["id"]: row for row in read(data / "bipia/attacks.jsonl")}
    own = load_plain(OWN.read_text(encoding="utf-8"))
    handbook = [row["text"] for row in read(data / "sourcegraph_handbook/corpus.jsonl")]
    techcorp = sections_of(ROOT / "datasets/corpora/techcorp")
    docs = [part for part in sections_of(ROOT / "docs") if "injection" not in part and "untrusted" not in part]
    found = []
    for row in read(data / "bipia/data.jsonl"):
        attack = attacks[row["attack_id"]] if row["label"] else {"attack": "", "category": ""}
        found.append(Text(row["text"], row["task"], True, attack["attack"], attack["category"]))
    for source, texts in (("handbook", handbook), ("techcorp", techcorp), ("docs", docs), ("own", own["harmless"]["texts"])):
        found += [Text(text, source, True) for text in texts]
    for file in ("golden", "golden_ambiguous", "golden_kite"):
        found += [Text(row["question"], "handbook", False) for row in read(data / f"sourcegraph_handbook/{file}.jsonl")]
    found += [Text(row["text"], "notinject", False) for row in read(data / "notinject/data.jsonl")]
    found += [Text(row["text"], "xstest", False) for row in read(data / "xstest/data.jsonl") if row["label"] == "safe"]
    found += [Text(text, "own", False) for text in own["harmless"]["questions"]]
    lines = [line for text in own["harmless"]["texts"] for line in text.split("\n")]
    found += [Text(text, "own", False, judged=False) for text in (*own["harmless"]["sentences"], *lines) if text.strip()]
    long = [text for text in handbook if len(text) > 300]
    around = (("handbook", long), ("techcorp", techcorp))
    for sentence in own["harmless"]["sentences"]:
        found += [Text(plant(chance.choice(texts), sentence, chance), "own", True, judged=False) for _, texts in around]
    for row in attacks.values():
        kind = "code" if row["kind"] == "code" else row["category"]
        for source, texts in around * 2:
            text = plant(chance.choice(texts), row["attack"], chance)
            found.append(Text(text, source, True, row["attack"], kind, judged=kind == "code" and source == "techcorp"))
    for kind, languages in own["orders"].items():
        for language, orders in languages.items():
            for order in orders:
                for source, texts in around * 2:
                    text = plant(chance.choice(texts), order, chance)
                    found.append(Text(text, source, True, order, kind, language, judged=source == "techcorp"))
                found.append(Text(order, "own", False, order, kind, language, judged=kind in DIRECT))
    return found


# ---- the candidates --------------------------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class Side:
    """Every candidate sentence of the questions or of the passages, as numbers."""

    planted: bool
    texts: list[Text]
    of: NDArray[np.int64]  # which text each candidate is of
    order: NDArray[np.bool_]  # it is the planted order
    unclear: NDArray[np.bool_]  # it holds the order and more: nothing to learn from
    names: list[str]
    features: NDArray[np.float64]
    vectors: NDArray[np.float64]
    near: NDArray[np.float64]  # features that need the vector of the whole text
    near_names: list[str]
    pattern: NDArray[np.float64]  # of each text: the score by patterns alone
    columns: dict[str, NDArray[Any]] = field(default_factory=dict)

    def column(self, name: str) -> NDArray[Any]:
        """A fact of each candidate's text."""
        if name not in self.columns:
            self.columns[name] = np.array([getattr(text, name) for text in self.texts])[self.of]
        return self.columns[name]


def by_patterns(text: str, planted: bool) -> float:
    counts = [len([kind for kind in matching_kinds(one.plain) if planted or kind in DIRECT_KINDS]) for one in split(text)]
    return 1 - 0.5 ** max(counts, default=0)


def side_of(texts: list[Text], planted: bool, vectors_of: Callable[[Sequence[str]], NDArray[np.float32]]) -> Side:
    of, order, unclear, rows, plains = [], [], [], [], []
    for place, text in enumerate(texts):
        own = {one.plain for one in split(text.order)} if text.order else set()
        first = min((one.plain for one in split(text.order)), key=len) if text.order else ""
        for one in candidates(text.text, planted=planted):
            of.append(place)
            order.append(one.sentence.plain in own)
            unclear.append(bool(own) and one.sentence.plain not in own and first in one.sentence.plain)
            rows.append(one.features)
            plains.append(one.sentence.plain)
    vectors = vectors_of(plains).astype(np.float64)
    near = np.zeros((len(rows), 0))
    near_names: list[str] = []
    if planted:
        wholes = vectors_of([text.text for text in texts]).astype(np.float64)[of]
        told = [closeness(row, float(similarity)) for row, similarity in zip(rows, (vectors * wholes).sum(axis=1), strict=True)]
        near_names = list(told[0])
        near = np.array([list(one.values()) for one in told])
    return Side(
        planted, texts, np.array(of), np.array(order), np.array(unclear), list(rows[0]), np.array([list(row.values()) for row in rows]),
        vectors, near, near_names, np.array([by_patterns(text.text, planted) for text in texts]),
    )  # fmt: skip


def cached(embed: Callable[[Sequence[str]], NDArray[np.float32]], path: Path) -> Callable[[Sequence[str]], NDArray[np.float32]]:
    """Vectors of texts, those made before read from a file."""
    known: dict[str, NDArray[np.float32]] = {}
    if path.exists():
        with np.load(path, allow_pickle=False) as held:
            known = dict(zip(held["texts"].tolist(), held["vectors"], strict=True))

    def vectors_of(texts: Sequence[str]) -> NDArray[np.float32]:
        keys = [hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:24] for text in texts]
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if missing:
            print(f"embedding {len(missing):,} texts", flush=True)
            known.update(zip(missing, embed(list(missing.values())), strict=True))
            path.parent.mkdir(parents=True, exist_ok=True)
            np.savez(path, texts=np.array(list(known)), vectors=np.stack(list(known.values())))
        return np.stack([known[key] for key in keys])

    return vectors_of


Without = Callable[[Side], NDArray[np.bool_]]  # the candidates of a side that a fit must not see


# ---- fitting ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """A head with vectors and one of words alone."""

    weights: NDArray[np.float64]
    bias: float
    words: NDArray[np.float64]
    words_bias: float

    def logits(self, side: Side, rows: NDArray[np.int64], planted: bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Of each candidate, with its vector and by words alone; a head of questions reads of a passage what it would of a question."""
        words = side.features[rows][:, : len(self.words)]
        return full(side, rows, planted, len(self.words)) @ self.weights + self.bias, words @ self.words + self.words_bias


def full(side: Side, rows: NDArray[np.int64], planted: bool, count: int | None = None) -> NDArray[np.float64]:
    """Features and vectors of candidates, as a head of passages or of questions reads them."""
    name = "planted" if planted else "direct"
    near = side.near[rows] if planted else side.near[rows][:, :0]
    return np.hstack([side.features[rows][:, :count], near, side.vectors[rows] * VECTOR_SCALE[name]])


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """What a head is fitted on."""

    full: NDArray[np.float64]
    words: NDArray[np.float64]
    family: NDArray[np.str_]

    @classmethod
    def of(cls, side: Side, rows: NDArray[np.int64], planted: bool, count: int, family: str) -> "Examples":
        """Some candidates, as a head of passages or of questions reads them."""
        return cls(full(side, rows, planted, count), side.features[rows][:, :count], side.column(family)[rows])


def some(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    return rows if len(rows) <= NEGATIVES else np.random.default_rng(SEED).choice(rows, NEGATIVES, replace=False)


def fit(side: Side, without: Without, passages: Side) -> Fitted:
    """Both heads of a side without some families, which weigh by the root of their size; that of questions reads passages as well."""
    from sklearn.linear_model import LogisticRegression

    name = "planted" if side.planted else "direct"
    count = len(side.names)
    orders = ~without(side) & side.order & (np.isin(side.column("kind"), DIRECT) | side.planted)
    parts = [Examples.of(side, np.flatnonzero(orders), side.planted, count, "kind")]
    for one in (side,) if side.planted else (side, passages):
        harmless = ~without(one) & ~one.order & ~one.unclear & (one.column("order") == "")
        parts.append(Examples.of(one, some(np.flatnonzero(harmless)), side.planted, count, "source"))
    wanted = np.repeat([1.0, *(0.0 for _ in parts[1:])], [len(part.family) for part in parts])
    families = np.concatenate([part.family for part in parts])
    weight = np.zeros(len(wanted))
    for label in (0.0, 1.0):
        mine = wanted == label
        sizes = Counter(families[mine])
        weight[mine] = [1 / sizes[family] ** 0.5 for family in families[mine]]
        weight[mine] *= mine.sum() / weight[mine].sum()
    if not side.planted:
        weight[wanted == 1] *= ORDERS_WEIGH["direct"] * (wanted == 0).sum() / max(1, orders.sum())
    fitted = []
    for matrices, model in (([part.full for part in parts], EMBEDDER.name), ([part.words for part in parts], WORDS_ONLY)):
        regression = LogisticRegression(C=RIDGE[name], solver="newton-cholesky", max_iter=25, tol=1e-3)
        regression.fit(np.vstack(matrices), wanted, sample_weight=weight)
        fitted += [regression.coef_[0], float(regression.intercept_[0]) - SHIFT[name, model]]
    return Fitted(*fitted)


def scores(side: Side, heads: Sequence[tuple[Side, Fitted]], chosen: NDArray[np.int64]) -> NDArray[np.float64]:
    """The log-odds of texts as the detector gives them: with vectors of their likeliest candidates, then by words alone."""
    out = np.full((len(chosen), 2), -20.0)
    place_of = {text: place for place, text in enumerate(chosen.tolist())}
    rows = np.flatnonzero(np.isin(side.of, chosen))
    each = [head.logits(side, rows, of.planted) for of, head in heads]
    with_vector, by_words = np.max([one[0] for one in each], axis=0), np.max([one[1] for one in each], axis=0)
    groups: dict[int, list[int]] = {}
    for at, text in enumerate(side.of[rows].tolist()):
        groups.setdefault(text, []).append(at)
    for text, places in groups.items():
        likely = sorted((at for at in places if by_words[at] >= WORTH_A_VECTOR), key=lambda at: -by_words[at])[:CANDIDATES]
        best = max(with_vector[likely]) if likely else max(by_words[places])
        out[place_of[text]] = best, max(by_words[places])
    return out


def left_out(side: Side, questions: Side, passages: Side) -> NDArray[np.float64]:
    """The log-odds of every judged text, by heads that were fitted without its family; by vectors and by words."""
    facts = {name: np.array([getattr(text, name) for text in side.texts]) for name in ("source", "kind", "language", "order", "judged")}
    harmless = facts["order"] == ""
    found = np.full((len(side.texts), 2), np.nan)

    fits: dict[tuple[bool, bytes], Fitted] = {}  # by what is left out: most kinds have no part in the questions

    def fitted(one: Side, without: Without) -> Fitted:
        key = (
            one.planted,
            without(one).tobytes() + (b"" if one.planted else (without(passages) & (passages.column("order") == "")).tobytes()),
        )
        if key not in fits:
            fits[key] = fit(one, without, passages)
        return fits[key]

    def judge(texts: NDArray[np.bool_], without: Without) -> None:
        chosen = np.flatnonzero(texts & facts["judged"])
        if len(chosen):
            found[chosen] = scores(side, [(one, fitted(one, without)) for one in ((side, questions) if side.planted else (side,))], chosen)

    for name in sorted(set(facts["source"][harmless])):
        judge(harmless & (facts["source"] == name), partial(_harmless_of, source=name))
    for name in sorted(set(facts["kind"][~harmless])):
        here = facts["kind"] == name
        tasks = [task for task in ("email", "table") if (here & (facts["source"] == task)).any()]
        for task in tasks:
            judge(here & (facts["source"] == task), partial(_kind_or_task, kind=name, task=task))
        for spoken in () if tasks else ("en", "de", "fr", "es"):
            judge(here & (facts["language"] == spoken), partial(_kind_or_language, kind=name, language=spoken))
    return found


def _nothing(side: Side) -> NDArray[np.bool_]:
    return np.zeros(len(side.of), dtype=bool)


def _harmless_of(side: Side, source: str) -> NDArray[np.bool_]:
    """All texts of a source; of our own the orders stay: they are other families."""
    return np.asarray((side.column("source") == source) & ((side.column("order") == "") | (source != "own")))


def _kind_or_task(side: Side, kind: str, task: str) -> NDArray[np.bool_]:
    return np.asarray((side.column("kind") == kind) | (side.column("source") == task))


def _kind_or_language(side: Side, kind: str, language: str) -> NDArray[np.bool_]:
    """The orders of a kind, and those in a language other than English."""
    foreign = (side.column("language") == language) & (side.column("order") != "") & (language != "en")
    return np.asarray((side.column("kind") == kind) | foreign)


# ---- the figures -----------------------------------------------------------------------------------------------------------


def share(values: Iterable[bool]) -> dict[str, float]:
    held = [bool(value) for value in values]
    return {"flagged": sum(held), "of": len(held), "share": round(sum(held) / len(held), 4) if held else 0.0}


def auc(harmless: NDArray[np.float64], orders: NDArray[np.float64]) -> float:
    from sklearn.metrics import roc_auc_score

    return round(float(roc_auc_score(np.r_[np.zeros(len(harmless)), np.ones(len(orders))], np.r_[harmless, orders])), 3)


def recall_at(harmless: NDArray[np.float64], orders: NDArray[np.float64], false: int) -> float:
    """The share of orders above a threshold that at most so many harmless texts exceed."""
    threshold = np.sort(harmless)[::-1][false] if false < len(harmless) else -np.inf
    return round(float((orders > threshold).mean()), 3)


def figures(sides: Sequence[Side], found: Sequence[NDArray[np.float64]], peer: dict[str, Row]) -> Row:
    """Per family: flagged by the model, by words alone, by patterns alone and by what ships, and by the peer."""
    families: dict[str, Row] = {}
    for side, logits in zip(sides, found, strict=True):
        groups: dict[tuple[str, bool], list[int]] = {}
        for place, text in enumerate(side.texts):
            if text.judged:
                groups.setdefault((family_of(text), bool(text.order)), []).append(place)
        for (name, is_order), places in sorted(groups.items()):
            model, pattern = logits[places, 0] >= 0, side.pattern[places] >= 0.5
            row: Row = {"orders": is_order, "model": share(model), "words": share(logits[places, 1] >= 0)}
            row |= {"patterns": share(pattern), "ships": share(model | pattern)}
            asked = [peer[side.texts[place].text] for place in places if side.texts[place].text in peer]
            if asked:
                row["peer"] = share(one["flagged"] for one in asked) | {
                    "milliseconds": statistics.median(one["milliseconds"] for one in asked)
                }
            families[name] = row
    side, logits = next((side, logits) for side, logits in zip(sides, found, strict=True) if side.planted)
    bipia: Row = {}
    for task in ("email", "table"):
        clean = [place for place, text in enumerate(side.texts) if text.source == task and not text.order]
        attacked = [place for place, text in enumerate(side.texts) if text.source == task and text.order]
        row = {}
        contenders = {"model": logits[:, 0], "words": logits[:, 1]}
        if peer and all(side.texts[place].text in peer for place in clean + attacked):
            contenders["peer"] = np.array([(peer.get(text.text) or {}).get("score") or 0.0 for text in side.texts])
        for name, values in contenders.items():
            row[name] = {"auc": auc(values[clean], values[attacked])}
            row[name] |= {
                f"{percent} %": recall_at(values[clean], values[attacked], percent * len(clean) // 100) for percent in (0, 1, 5, 12)
            }
        categories = sorted({side.texts[place].kind for place in attacked})
        row["categories"] = {
            kind: {
                "model": share(logits[place, 0] >= 0 for place in attacked if side.texts[place].kind == kind),
                "peer": share(peer[side.texts[place].text]["flagged"] for place in attacked if side.texts[place].kind == kind)
                if peer
                else None,
            }
            for kind in categories
        }
        bipia[task] = row
    return {"families": families, "bipia": bipia}


def family_of(text: Text) -> str:
    if text.source in ("email", "table"):
        return f"bipia {text.source}, {'attacked' if text.order else 'clean'}"
    where = "passages" if text.planted else "questions"
    if text.order:
        return f"own {text.kind}, {text.language}, {where}" if text.kind != "code" else f"bipia code, {where}"
    return f"{text.source}, {where}"


def costs(detector: InjectionDetector, texts: Sequence[Text], vector_of: Callable[[str], Any]) -> Row:
    """Milliseconds a question and a passage, the passage's own vector being there already, and the share that needed vectors."""
    found: Row = {}
    chance = random.Random(SEED)
    for name, chosen in (
        ("question", [text for text in texts if not text.planted and text.source == "handbook"]),
        ("passage", [text for text in texts if text.planted and text.source == "handbook" and not text.order]),
    ):
        sample = chance.sample(chosen, 400)
        times = []
        for text in sample:
            vector = vector_of(text.text) if text.planted else None
            started = time.perf_counter()
            if text.planted:
                detector.in_passage(text.text, vector)
            else:
                detector.in_question(text.text)
            times.append((time.perf_counter() - started) * 1000)
        found[name] = {
            "p50_ms": round(statistics.median(times), 3),
            "p95_ms": round(sorted(times)[int(0.95 * len(times))], 3),
            "of": len(times),
        }
        found[name]["mean_ms"] = round(statistics.mean(times), 3)
    return found


# ---- the peer --------------------------------------------------------------------------------------------------------------


def ask_peer(texts: Sequence[Text]) -> dict[str, Row]:
    """What the peer says of each text; answers are kept beside its environment, so that a second run asks for new texts only."""
    python = PEER_FOLDER / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        uv = shutil.which("uv") or str(ROOT / ".touchstone/tools/bin/uv")
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, PEER_FOLDER], check=True)
        subprocess.run([uv, "pip", "install", "--quiet", "--python", python, f"{PEER}[onnx]=={PEER_PIN}"], check=True)
    kept = PEER_FOLDER / f"answers-{PEER_PIN}.jsonl"
    known = {row["text"]: row for row in read(kept)} if kept.exists() else {}
    chance = random.Random(SEED)
    sections = [text.text for text in texts if text.planted and text.source == "handbook" and not text.order]
    some = set(chance.sample(sections, PEER_SECTIONS))
    wanted = dict.fromkeys(
        text.text
        for text in texts
        if text.judged
        and text.source in ("email", "table", "notinject", "xstest", "handbook")
        and (text.text in some or not text.planted or text.source != "handbook")
    )
    missing = [text for text in wanted if text not in known]
    if missing:
        process = subprocess.Popen(
            [str(python), str(Path(__file__).with_name("_injection_peer.py"))], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True, encoding="utf-8",
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        with process, kept.open("a", encoding="utf-8") as file:
            for number, text in enumerate(missing, start=1):
                process.stdin.write(json.dumps(text) + "\n")
                process.stdin.flush()
                known[text] = {"text": text} | json.loads(process.stdout.readline())
                file.write(json.dumps(known[text]) + "\n")
                if number % 200 == 0:
                    print(f"  {PEER}: {number:,} of {len(missing):,}", flush=True)
            process.stdin.close()
    return {text: known[text] for text in wanted}


# ---- the coefficients ------------------------------------------------------------------------------------------------------


def as_heads(side: Side, fitted: Fitted) -> dict[str, Row]:
    """The two heads of a side as the file has them."""
    name = "planted" if side.planted else "direct"
    count = len(side.names) + len(side.near_names)
    plain = dict(zip([*side.names, *side.near_names], fitted.weights[:count], strict=True))
    vector = fitted.weights[count:] * VECTOR_SCALE[name]
    return {
        EMBEDDER.name: {"weights": rounded(plain), "bias": round(fitted.bias, 4), "vector": [round(float(one), 4) for one in vector]},
        WORDS_ONLY: {"weights": rounded(dict(zip(side.names, fitted.words, strict=True))), "bias": round(fitted.words_bias, 4)},
    }


def rounded(weights: dict[str, float]) -> dict[str, float]:
    return {name: round(float(weight), 4) for name, weight in weights.items()}


def write_coefficients(sides: Sequence[Side]) -> None:
    models: dict[str, Row] = {EMBEDDER.name: {}, WORDS_ONLY: {}}
    for side in sides:
        for model, head in as_heads(side, fit(side, _nothing, sides[1])).items():
            models[model]["planted" if side.planted else "direct"] = head
    about = {
        "made_by": "bench/injection.py --fit",
        "fitted_on": "BIPIA (MIT), NotInject (MIT), XSTest (CC BY 4.0, Röttger et al.), "
        "the Sourcegraph handbook (Apache-2.0), texts of our own",
    }
    write_text(COEFFICIENTS, json.dumps(about | {"models": models}, indent=1, ensure_ascii=False) + "\n")


# ---- the report ------------------------------------------------------------------------------------------------------------


def percent(one: Row | None) -> str:
    return f"{one['share']:.1%} ({one['flagged']} of {one['of']})" if one else "–"


def markdown(report: Row) -> str:
    lines = [
        "# Orders to the model in questions and passages",
        "",
        f"Machine: {machine_line(report['machine'])}. `{report['command']}`",
        "",
        ABOUT,
        "",
    ]
    for title, orders in (("Harmless texts that are flagged", False), ("Orders that are found", True)):
        rows = [
            [name, *(percent(row[column]) for column in ("model", "words", "patterns", "ships")), percent(row.get("peer"))]
            for name, row in report["families"].items()
            if row["orders"] == orders
        ]
        lines += [f"## {title}", "", table(["family, left out", "model", "by words alone", "patterns alone", "what ships", PEER], rows), ""]
    lines += ["## BIPIA at equal false alarms", "", EQUAL, ""]
    rows = []
    for task, row in report["bipia"].items():
        for name in ("model", "words", "peer"):
            if name in row:
                rows.append([f"{task}: {NAMES[name]}", row[name]["auc"], *(f"{row[name][f'{one} %']:.1%}" for one in (0, 1, 5, 12))])
    lines += [table(["", "AUC", "no false alarm", "1 %", "5 %", "12 %"], rows), "", "## BIPIA by category of the attack", ""]
    rows = [
        [f"{task}: {kind}", percent(one["model"]), percent(one["peer"])]
        for task, row in report["bipia"].items()
        for kind, one in row["categories"].items()
    ]
    lines += [table(["category, left out with the task's texts", "model", PEER], rows), "", "## Cost", "", COST, ""]
    rows = [[name, one["p50_ms"], one["p95_ms"], one["mean_ms"]] for name, one in report["costs"].items()]
    lines += [table(["milliseconds a", "p50", "p95", "mean"], rows), ""]
    return "\n".join(lines)


NAMES = {"model": "model", "words": "by words alone", "peer": PEER}
ABOUT = """Each family is judged by a model that was fitted without it: of BIPIA without the attack's category and without every text of the
task (e-mail or table) it stands in; of the rest without the whole source, or kind, or language. One threshold holds for all of them; it was
chosen once, on these scores. What ships is fitted on all families together: the left-out figures are what it promises for the next one.

*patterns alone* are regular expressions, those for the answer's form written while looking at half of BIPIA, so their figures on BIPIA are
no promise; *what ships* flags what the model or a pattern flags. *by words alone* is the model without MiniLM. The harmless texts and
orders of our own were written by somebody who had seen samples of the families. Passages are judged with what stands around a sentence,
questions without: a wish that is fine in a question is strange in the middle of a table."""
EQUAL = """The share of attacked texts above a threshold that so many clean texts of the task exceed (100 e-mails, 300 tables)."""
COST = """Of the handbook's questions and sections, one after the other, MiniLM in fp32; the vector of a passage is made for the index
anyway and not counted."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--fit", action="store_true", help="fit on all families, rewrite the coefficients and stop")
    parser.add_argument("--peer", action="store_true", help=f"also run {PEER} {PEER_PIN} on the same texts")
    parser.add_argument("--vectors", type=Path, default=ROOT / ".touchstone/bench-injection-vectors.npz", help="where vectors are kept")
    parser.add_argument("--out", type=Path, default=REPORTS)
    options = parser.parse_args()
    texts = all_texts(options.data)
    tools = Tools(PipelineSettings())
    vectors_of = cached(tools.vectors, options.vectors)
    sides = [side_of([text for text in texts if text.planted == planted], planted, vectors_of) for planted in (False, True)]
    for side in sides:
        print(
            f"{'passages' if side.planted else 'questions'}: {len(side.texts):,}, candidates {len(side.of):,}, orders {side.order.sum():,}",
            flush=True,
        )
    if options.fit:
        write_coefficients(sides)
        return
    found = [left_out(side, *sides) for side in sides]
    peer = ask_peer(texts) if options.peer else {}
    report: Row = {"command": "python bench/injection.py DATA" + (" --peer" if options.peer else "")}
    report |= {"machine": machine("numpy", "scikit-learn", "onnxruntime"), "detector": detector_version()}
    report |= figures(sides, found, peer)
    report["costs"] = costs(InjectionDetector(tools), texts, lambda text: vectors_of([text])[0])
    write_report("injection", report, markdown(report), options.out)
    print(markdown(report))


if __name__ == "__main__":
    main()
