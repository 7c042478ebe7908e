"""What the images hold and need: sizes by part and by package, start to ready, memory, and the harness's work in its own.

    python bench/image.py [--starts 5] [--out reports/bench]

Both are built without Docker and started without a container engine, as `make image-smoke` does: needs root, buildah, bubblewrap and
mmdebstrap.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from _bench import REPORTS, machine, machine_line, table, write_report

sys.path.insert(0, str(Path(__file__).parents[1]))

from infra.checks.image_smoke import tried
from infra.checks.images import buildah, refuse

SHOWN = 12
PARTS = {
    "all": "unpacked",
    "base": "of these the base (Debian and its Python)",
    "packages": "of these Python packages",
    "ours": "of these our code, prompts and data sets",
    "bytecode": "of the packages: bytecode, compiled once",
    "tests": "of the packages: their tests",
    "stubs": "of the packages: headers and stubs",
}


def packed_mb(image: str) -> float:
    """What is sent to a registry, and fetched from it: layers, compressed."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "image.tar"
        buildah("push", "--quiet", "--format", "oci", image, f"oci-archive:{file}")
        return round(file.stat().st_size / 2**20, 1)


def markdown(report: Mapping[str, Any]) -> str:
    """The report as people read it."""
    images: Mapping[str, Mapping[str, Any]] = report["images"]
    serving, harness = images["serving"], images["harness"]
    rows = [[words, *(f"{one['sizes_mb'][part]:,.0f} MB" for one in images.values())] for part, words in PARTS.items()]
    rows.insert(0, ["packed, as a registry sends it", *(f"{one['packed_mb']:,.0f} MB" for one in images.values())])
    started = [
        [
            "API: start to `/readyz` 200",
            f"{min(serving['ready_s'])} s (median {statistics.median(serving['ready_s']):.2f} of {len(serving['ready_s'])})",
        ],
        ["API: memory when ready, after a question", f"{serving['ready_mb']} MB, {serving['asked_mb']} MB"],
        *([f"harness: {name}", f"{seconds} s"] for name, seconds in harness["seconds"].items()),
        ["MLflow's server: start to ready, memory", f"{harness['mlflow']['ready_s']} s, {harness['mlflow']['memory_mb']} MB"],
    ]
    largest = {
        name: ", ".join(f"{one} {size:.0f} MB" for one, size in list(image["packages_mb"].items())[:SHOWN])
        for name, image in images.items()
    }
    return "\n".join(
        [
            "# The images: what is in them, and how soon they work",
            "",
            f"Machine: {machine_line(report['machine'])}, shared with other work.",
            f"Base: {report['base']}. Times are the best of what was run.",
            "",
            "Built by buildah from `infra/docker/`, started by bubblewrap as 10001:10001 on a read-only root, without a capability.",
            "The API serves a release over TechCorp with MiniLM; the harness evaluates ten cases, sweeps two trials, builds TechCorp's",
            "index as a job of a Ray cluster with a token, and runs MLflow's server as in Kubernetes. Made by `python bench/image.py`:",
            "`make image-smoke REPORT=1`.",
            "",
            table(["size", *images], rows),
            "",
            *(f"The largest packages of `{name}`: {words}.\n" for name, words in largest.items()),
            table(["what", "how much"], started),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--out", type=Path, default=REPORTS)
    options = parser.parse_args()
    refuse()
    images = {name: tried(name, starts=options.starts) for name in ("serving", "harness")}
    for name, facts in images.items():
        facts["packed_mb"] = packed_mb(f"localhost/touchstone-{name}:smoke")
    report = {"machine": machine(), "base": "Debian 12 with its Python 3.11, by mmdebstrap", "starts": options.starts, "images": images}
    write_report("image", report, markdown(report), options.out)
    print(markdown(report))


if __name__ == "__main__":
    main()
