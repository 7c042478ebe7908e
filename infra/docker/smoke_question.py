"""Asks a server that is tried: PORT alone whether it is ready; PORT KEYFILE a question, whose answer has to cite a document."""

import json
import sys
from pathlib import Path
from urllib.request import Request, urlopen

QUESTION = "Who approves an order of 60,000 EUR?"


def main(port: str, key_file: str = "") -> int:
    """0 when the answer is as it should be."""
    address = f"http://127.0.0.1:{port}"
    if not key_file:
        with urlopen(f"{address}/readyz", timeout=2) as answer:
            return 0 if json.load(answer)["current"] else 1
    key = json.loads(Path(key_file).read_text(encoding="utf-8"))["key"]
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    request = Request(f"{address}/v1/query", json.dumps({"question": QUESTION}).encode(), headers)
    with urlopen(request, timeout=60) as answer:
        said = json.load(answer)
    cited = sorted({one["document"] for one in said["citations"]})
    print(f"asked: {QUESTION} — {said['answer']} — cites {', '.join(cited) or 'nothing'}")
    return 0 if cited else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
