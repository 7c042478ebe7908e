"""Runs checks, each of which keeps a promise and yields a line a mistake, and says how it went."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

SKIPPED: Final = 77  # the exit code where nothing is wrong but a tool is missing


class ToolMissing(Exception):
    """A program that a check needs is not installed."""


def run_checks(checks: Mapping[str, Callable[[], Iterable[str]]]) -> int:
    """Run every check by what it promises; the exit code of all of them."""
    code, missing = 0, ""
    for promise, check in checks.items():
        try:
            mistakes = list(check())
        except ToolMissing as error:
            print(f"skipped  {promise}")
            missing = str(error)
            continue
        print(f"{'failed' if mistakes else 'ok':8} {promise}")
        for mistake in mistakes:
            print(f"         {mistake}")
        code = 1 if mistakes else code
    if missing:
        print(f"skipped: {missing}")
    return code or (SKIPPED if missing else 0)
