"""The OpenAPI document and the API behind it, tried by schemathesis: every check, every phase, links between operations included."""

import asyncio
import re
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from serving.keys import SCOPES, Caller, create_key
from tests.app.making import House
from tests.app.real import Listening, listening
from tests.support.waiting import WITHIN_S

pytestmark = pytest.mark.slow

EXAMPLES = 6  # of each operation and kind; more were tried once, this many keep the suite quick
CONFIG = """
[checks]
# what breaks the schema may be refused for its size alone, before anything of it was understood
negative_data_rejection.expected-statuses = ["400", "401", "403", "404", "405", "406", "413", "415", "422", "429"]

# no JSON Schema says that the last message of the user has a text in it
[[operations]]
include-path = ["/v1/chat/completions", "/v1/responses"]
checks.positive_data_acceptance.expected-statuses = ["2xx", "422"]

# nor that a file is one of five kinds, holds what its name says, and may be read by the groups of the key
[[operations]]
include-path = "/v1/documents"
checks.positive_data_acceptance.expected-statuses = ["2xx", "415", "422"]
"""


async def trial(server: Listening, folder: Path, headers: Mapping[str, str]) -> tuple[int, str]:
    """The exit code of schemathesis on a server, and what it says."""
    await asyncio.to_thread((folder / "schemathesis.toml").write_text, CONFIG)
    given = [part for name, value in headers.items() for part in ("--header", f"{name}: {value}")]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "schemathesis.cli", "--config-file", str(folder / "schemathesis.toml"), "--no-color",
        "run", f"http://127.0.0.1:{server.port}/openapi.json", "--checks", "all", "--max-examples", str(EXAMPLES), "--seed", "1",
        "--no-shrink", "--continue-on-failure", "--request-timeout", str(WITHIN_S), "--suppress-health-check", "too_slow", *given,
        cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        async with asyncio.timeout(10 * WITHIN_S):
            said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode or 0, "\n".join(line[:300] for line in said.decode(errors="replace").splitlines())


@pytest.mark.parametrize("keys", [False, True], ids=["without keys", "with keys"])
async def test_nothing_that_the_document_allows_or_forbids_gets_an_answer_that_it_does_not_declare(
    house: House, tmp_path: Path, keys: bool
) -> None:
    headers = {}
    patience = {"header_timeout_s": 10.0, "body_timeout_s": 10.0}  # with requests of which never more comes
    settings = house.settings(expose_trace=True, traces=str(tmp_path / "traces.db"), **patience)
    if keys:
        key = await asyncio.to_thread(create_key, tmp_path / "keys.yaml", Caller(id="fuzzer", scopes=frozenset(SCOPES)))
        settings = settings.model_copy(update={"api_keys": tmp_path / "keys.yaml"})
        headers = {"Authorization": f"Bearer {key}"}
    async with listening(settings) as server:
        code, said = await trial(server, tmp_path, headers)
    assert code == 0, said
    selected = re.search(r"Selected: (\d+)/(\d+)\s+Tested: (\d+)", said)
    assert selected, said
    assert len(set(selected.groups())) == 1, said
    covered = re.search(r"API Links:\s+(\d+) covered", said)
    assert covered, said
    assert int(covered[1]) >= 4, said  # question → trace, question → feedback → trace, traces → trace
