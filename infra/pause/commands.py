"""Runs aws, kubectl and terraform: a dry run changes nothing, nothing secret is an argument, and nothing is cut off half-way."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
POLL_S = 15.0
PATIENCE_S = 900.0  # how long what AWS or Kubernetes does is waited for


class Refused(Exception):
    """Why nothing is done, and what to do about it: exit code 2."""


class Broken(Exception):
    """A command that failed: exit code 3."""

    def __init__(self, command: Sequence[str], said: str) -> None:
        super().__init__(f"{' '.join(command[:3])} failed: {said.strip()[-2000:]}")
        self.said = said

    @property
    def line(self) -> str:
        """The first line of what it said that names an error."""
        lines = [line.strip(" │╷╵") for line in self.said.splitlines()]
        return next((line for line in lines if "rror" in line), next(filter(None, lines), "it says nothing")).rstrip(".")


class Terminated(KeyboardInterrupt):
    """SIGTERM, which reaches this process alone; Ctrl-C reaches the running command too."""


def end_when_told() -> None:
    """From now on SIGTERM ends this process as Ctrl-C does."""

    def ended(number: int, frame: object) -> None:
        raise Terminated

    signal.signal(signal.SIGTERM, ended)


@dataclass
class Commands:
    """Runs commands; in a dry run only those that ask. Nothing secret is ever an argument: every user of a machine sees those."""

    dry_run: bool = False
    say: Callable[[str], None] = field(default=lambda line: print(line, flush=True))
    sleep: Callable[[float], None] = time.sleep
    environment: Mapping[str, str] = field(default_factory=dict)

    def ask(self, *command: str) -> str:
        """What a command that changes nothing says."""
        return self._run(command, "", {})

    def change(self, *command: str, given: str = "", secret: Mapping[str, str] | None = None) -> None:
        """Run a command that changes something, which is seen as it goes on; in a dry run, say it."""
        if self.dry_run:
            self.say(f"  would run: {' '.join(command)}")
        else:
            self._run(command, given, secret or {}, shown=True)

    def wait(self, otherwise: str, holds: Callable[[], bool]) -> None:
        """Until something holds; `Broken` where it does not in time."""
        for _ in range(int(PATIENCE_S / POLL_S)):
            if holds():
                return
            self.sleep(POLL_S)
        raise Broken(["waiting"], f"after {PATIENCE_S / 60:.0f} minutes {otherwise}. Look why, then run the same again.")

    def _run(self, command: Sequence[str], given: str, secret: Mapping[str, str], *, shown: bool = False) -> str:
        environment, out = {**os.environ, **self.environment, **secret}, None if shown else subprocess.PIPE
        try:
            process = subprocess.Popen(
                list(command), env=environment, cwd=ROOT, stdin=subprocess.PIPE, stdout=out, stderr=subprocess.PIPE, text=True
            )
        except FileNotFoundError:
            raise Refused(f"{command[0]} is not installed; pausing and resuming need aws, kubectl and terraform.") from None
        try:
            said, wrong = process.communicate(given)
        except KeyboardInterrupt as told:
            if isinstance(told, Terminated):
                process.send_signal(signal.SIGINT)
            process.communicate()  # killed, Terraform would lose what it has just made and leave its lock
            raise
        if process.returncode:
            raise Broken(command, wrong or said or "it says nothing")
        return said or ""
