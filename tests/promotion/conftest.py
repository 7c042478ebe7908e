import copy
from typing import Any, cast

import pytest
import yaml

from tests.support.s3 import s3_bucket, s3_server, storage_uri
from tests.support.world import CONFIG, World

__all__ = ["s3_bucket", "s3_server", "storage_uri"]

RULES = [{"id": "errors", "rule": "errors"}, {"id": "quality", "rule": "floor", "metric": "quality", "at_least": 0.05}]


@pytest.fixture
def gated(world: World) -> World:
    """The small company with two gates, and two configurations besides its own."""
    gates = world.root / "experiments" / "gates"
    gates.mkdir(parents=True)
    for name, split in (("pull_request", "holdout"), ("promotion", "all")):
        gate = {"name": name, "golden": "tiny/v1", "split": split, "metrics": ["quality"], "rules": RULES}
        (gates / f"{name}.yaml").write_text(yaml.safe_dump(gate))
    for name, top_k in (("one", 3), ("two", 4)):
        changed = cast(dict[str, Any], copy.deepcopy(CONFIG))
        changed["index"]["store"] = {"name": "memory"}  # LanceDB minds being forked
        changed["retrieve"]["top_k"] = top_k
        changed["answer"]["prompt"] = {"by_domain": False}
        (world.root / f"{name}.yaml").write_text(yaml.safe_dump(changed))
    return world
