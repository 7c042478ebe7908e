import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.support.world import REPOSITORY, World

pytestmark = pytest.mark.slow

ASK = ["ask", "What is the notice period for managers, and who else has one?", "--corpus", "tiny", "--json"]
SAME = ("config_digest", "index_digest", "hits", "passages", "route", "prompt", "answer", "usage", "dropped_passages")


def asked(world: World, *, hash_seed: str, home: str) -> dict[str, Any]:
    """What matters of a trace, from a process of its own with its own hash seed and its own index."""
    environment = os.environ | {"PYTHONHASHSEED": hash_seed, "TOUCHSTONE_HOME": home, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-m", "harness", *ASK]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True, cwd=world.root)
    trace = json.loads(done.stdout)
    return {key: trace[key] for key in SAME}


def test_two_processes_that_share_nothing_give_the_same_bytes(world: World) -> None:
    """The default configuration: MiniLM, LanceDB, hybrid search, the local readers."""
    one = asked(world, hash_seed="1", home="home-one")
    two = asked(world, hash_seed="2", home="home-two")
    assert json.dumps(one) == json.dumps(two)
    assert one["hits"]
