"""`python -m infra.pause pause` and `resume`, which `make pause` and `make resume` run."""

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from infra.pause.commands import ROOT, Broken, Commands, Refused, end_when_told
from infra.pause.layer import ClusterLayer
from infra.pause.refuse import LAYER

NAMES = ROOT / LAYER / "names.auto.tfvars.json"


def _read_names(path: Path) -> Mapping[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8"))["names"])
    except (OSError, ValueError, KeyError, TypeError):
        raise Refused(f"{path.relative_to(ROOT)} is missing or no longer what it was made. Run: make infra-names") from None


def main(arguments: Sequence[str] | None = None, commands: Commands | None = None) -> int:
    """Pause or resume; exit code 2 where it is refused, 3 where a command fails."""
    parser = argparse.ArgumentParser(prog="python -m infra.pause", description="Takes the cluster layer down and brings it back.")
    parser.add_argument("what", choices=("pause", "resume"))
    parser.add_argument("--dry-run", action="store_true", help="ask, and say what would be changed")
    parser.add_argument("--discard-volumes", action="store_true", help="pause: volumes may go with what is on them")
    parser.add_argument(
        "--channel", action="append", default=[], choices=("dev", "staging", "prod"), help="resume: deploy this one only. Repeatable"
    )
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="kubeconfig-") as folder:
        try:
            names = _read_names(NAMES)
            region = {"AWS_REGION": str(names["region"]), "AWS_PAGER": ""}
            layer = ClusterLayer(names, commands or Commands(dry_run=chosen.dry_run, environment=region), Path(folder) / "config")
            if chosen.what == "pause":
                layer.pause(discard_volumes=chosen.discard_volumes)
            else:
                layer.resume(chosen.channel)
        except Refused as reason:
            print(reason, file=sys.stderr)
            return 2
        except Broken as error:
            print(f"{error}\nRun the same again: it goes on from here.", file=sys.stderr)
            return 3
        except KeyboardInterrupt:
            print("Stopped between two steps. Run the same again: it goes on from here.", file=sys.stderr)
            return 130
    return 0


if __name__ == "__main__":
    end_when_told()
    sys.exit(main())
