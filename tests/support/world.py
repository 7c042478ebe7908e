"""A small company in a temporary folder, with everything the command line needs: documents, a golden set, an experiment."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from harness.cli import run

REPOSITORY = Path(__file__).resolve().parents[2]
NOVA = "bedrock_converse:amazon.nova-lite-v1:0"

DOCUMENTS = {
    "hr/leave.md": "# Leave\n\nEvery employee has 30 days of paid holiday a year.\n\nSick leave is paid for 6 weeks.\n",
    "hr/notice.md": "# Notice\n\nThe notice period is 3 months for managers.\n\nFor everyone else the notice period is 4 weeks.\n",
    "it/laptops.md": "# Laptops\n\nA laptop is replaced after 4 years.\n\nThe laptop model in use is the XT-550.\n",
    "it/vpn.md": "# Network\n\nThe VPN password expires after 90 days.\n\nAsk the service desk on extension 4711.\n",
    "finance/travel.md": "# Travel\n\nHotels are paid up to 165 EUR a night.\n\nReceipts are needed above 15 EUR.\n",
}
CASES = [  # question, document, quote, key fact
    ("How many days of paid holiday does an employee have?", "hr/leave.md", "30 days of paid holiday", "30 days"),
    ("For how long is sick leave paid?", "hr/leave.md", "Sick leave is paid for 6 weeks", "6 weeks"),
    ("What is the notice period for managers?", "hr/notice.md", "The notice period is 3 months for managers", "3 months"),
    ("After how many years is a laptop replaced?", "it/laptops.md", "A laptop is replaced after 4 years", "4 years"),
    ("Which laptop model is in use?", "it/laptops.md", "The laptop model in use is the XT-550", "XT-550"),
    ("When does the VPN password expire?", "it/vpn.md", "The VPN password expires after 90 days", "90 days"),
    ("Which extension has the service desk?", "it/vpn.md", "service desk on extension 4711", "4711"),
    ("Up to how much are hotels paid a night?", "finance/travel.md", "Hotels are paid up to 165 EUR a night", "165 EUR"),
    ("Above which amount are receipts needed?", "finance/travel.md", "Receipts are needed above 15 EUR", "15 EUR"),
]
CONFIG = {
    "index": {"embedder": {"name": "local:hashing"}, "chunker": {"name": "sentence"}},
    "retrieve": {"top_k": 2},
    "answer": {"models": {"lite": {"name": "local:reader-lite"}, "pro": {"name": "local:reader-lite"}}},
}


@dataclass(frozen=True, slots=True)
class Said:
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> object:
        """Standard output as JSON."""
        return json.loads(self.out)


@dataclass(frozen=True)
class World:
    """The folder that a command sees, and a way to run one in it."""

    root: Path
    capture: pytest.CaptureFixture[str]

    def touchstone(self, *arguments: str) -> Said:
        """Run a command in this process."""
        self.capture.readouterr()
        code = run(list(arguments))
        said = self.capture.readouterr()
        return Said(code, said.out, said.err)

    def pass_gate(self, config: str = "") -> None:
        """Hold a configuration (by default the newest sweep's winner) against a pull request's gate that everything passes."""
        gate = self.root / "experiments" / "gates" / "pull_request.yaml"
        if not gate.exists():
            gate.parent.mkdir(parents=True, exist_ok=True)
            rules = [{"id": "errors", "rule": "errors"}]
            gate.write_text(yaml.safe_dump({"name": "pull_request", "golden": "tiny/v1", "metrics": ["quality"], "rules": rules}))
        winners = sorted(self.root.glob("*/sweeps/*/winner.yaml"), key=lambda path: path.stat().st_mtime)
        said = self.touchstone("gate", "--config", config or str(winners[-1]))
        assert said.code == 0, said.out + said.err


def furnish(root: Path) -> None:
    """Write the documents, the golden set (unsealed), a configuration and an experiment."""
    for name, text in DOCUMENTS.items():
        path = root / "datasets" / "corpora" / "tiny" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    golden = root / "datasets" / "golden" / "tiny" / "v1"
    golden.mkdir(parents=True)
    lines: list[dict[str, object]] = [
        {
            "id": f"t{number}",
            "question": question,
            "answers": [fact],
            "evidence": [{"document": document, "quote": quote}],
            "key_facts": [fact],
        }
        for number, (question, document, quote, fact) in enumerate(CASES)
    ]
    lines.append({"id": "t-none", "question": "Who won the football match in Lisbon?", "answerable": False, "kind": "unanswerable"})
    (golden / "cases.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (golden / "CARD.md").write_text("---\nname: tiny\nversion: 1\ncorpus: tiny\n---\nA tiny set.\n")
    (root / "tiny.yaml").write_text(yaml.safe_dump(CONFIG))
    experiment = {"name": "small", "golden": "tiny/v1", "base": CONFIG, "trials": 3, "finalists": 1}
    experiment["space"] = {"retrieve.top_k": {"int": [1, 4]}, "answer.prompt.version": {"choice": [2, 3]}}
    (root / "small.yaml").write_text(yaml.safe_dump(experiment))


def rename(root: Path, name: str) -> None:
    """Give the corpus and the golden set (then unsealed) another name."""
    (root / "datasets/corpora/tiny").rename(root / "datasets/corpora" / name)
    golden = (root / "datasets/golden/tiny").rename(root / "datasets/golden" / name) / "v1"
    (golden / "CARD.md").write_text((golden / "CARD.md").read_text().replace("tiny", name))


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> World:
    """A furnished folder as the working directory, its golden set sealed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOUCHSTONE_PROMPTS", str(REPOSITORY / "prompts"))
    monkeypatch.setenv("TOUCHSTONE_MLFLOW_MODEL", "")  # registering takes seconds: the tests of it say so themselves
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_NAME", "TOUCHSTONE_HOME"):
        monkeypatch.delenv(name, raising=False)
    furnish(tmp_path)
    made = World(tmp_path, capsys)
    assert made.touchstone("golden", "seal", "tiny/v1").code == 0
    return made


def unreachable_bedrock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Name an endpoint of Bedrock at which nobody answers, and try it once."""
    monkeypatch.setenv("TOUCHSTONE_BEDROCK_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("TOUCHSTONE_MODEL_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
