"""Run by bench/injection.py in an environment of its own: what `stackone-defender` says of texts, one JSON string a line."""

import json
import sys
import time

from stackone_defender import create_prompt_defense


def main() -> None:
    defense = create_prompt_defense(block_high_risk=True)
    defense.warmup_tier2()
    for line in sys.stdin:
        started = time.perf_counter()
        found = defense.defend_tool_result(json.loads(line), "gmail_get_message")
        milliseconds = (time.perf_counter() - started) * 1000
        print(json.dumps({"flagged": not found.allowed, "score": found.tier2_score, "milliseconds": milliseconds}), flush=True)


if __name__ == "__main__":
    main()
