"""What a person does with channels and releases: list, compare, approve, try a candidate, switch to it, roll back."""

from collections.abc import Callable
from pathlib import Path

from harness.audit import audited_act
from harness.promotion.decisions import PROMOTION, required_gates
from harness.promotion.diff import ReleaseDiff, diff_releases
from harness.resolve import CHANNEL, release_beginning
from harness.settings import HarnessSettings
from serving.audit.record import Action, Detail
from serving.pipeline.errors import DataError, NotProven
from serving.release.bundle import load_release, open_releases, releases
from serving.release.channel import CHANNELS, UNPROVEN, Channel, Mode, find_channel, read_channel
from serving.release.evidence import found_worse
from serving.release.move import approve_release, point_channel, promote_candidate, roll_back, set_candidate, withdraw_candidate


class Channels:
    """The channels of a project and the releases that they name.

    A release is named by its digest, by how that begins, or by the channel that points at it (`channel:dev`). A `revision`, where given,
    is the one that the caller has looked at: a channel that has changed since stays as it is.
    """

    def __init__(self, settings: HarnessSettings, folder: Path = Path()) -> None:
        self._settings = settings
        self._folder = folder  # of the project, for its gates
        self._storage = open_releases(settings.releases, settings)
        self._who = settings.promoter

    def all(self) -> tuple[Channel, ...]:
        """Every channel that has a document."""
        return tuple(channel for name in CHANNELS if (channel := find_channel(self._storage, name)))

    def get(self, name: str) -> Channel:
        """A channel that points at something."""
        return read_channel(self._storage, name)

    def named(self) -> tuple[str, ...]:
        """Every release that a channel names, stable or tried."""
        return tuple(
            digest
            for channel in self.all()
            for digest in (channel.stable, channel.candidate.release if channel.candidate else "")
            if digest
        )

    def release(self, word: str) -> str:
        """The digest of the release that a word names."""
        if word.startswith(CHANNEL):
            return self.get(word.removeprefix(CHANNEL)).stable
        digest = release_beginning(word, releases(self._storage))
        return digest or load_release(self._storage, word).digest  # which raises with those that are known

    def diff(self, before: str, after: str) -> ReleaseDiff:
        """What turns one release into another."""
        return diff_releases(*(load_release(self._storage, self.release(word)) for word in (before, after)))

    def point(self, name: str, word: str, *, why: str = "", revision: int | None = None) -> Channel:
        """Point a channel at a release that is there, by its newest evidence."""
        digest = self.release(word)
        expected = self._at_revision(name, revision)
        who, reason = self._who, why or "set by hand"

        def move() -> Channel:
            evidence = self._evidence(name, digest)
            return point_channel(self._storage, name, digest, evidence=evidence, expected=expected, who=who, why=reason)

        return self._audited_move("channel.promote", name, expected, move, release=digest, why=why)

    def try_candidate(self, name: str, word: str, mode: Mode, weight: float, *, why: str = "", revision: int | None = None) -> Channel:
        """Try a release beside the stable one of a channel."""
        digest, expected = self.release(word), self._existing(name, revision)

        def move() -> Channel:
            evidence = self._evidence(name, digest)
            return set_candidate(
                self._storage, name, digest, evidence=evidence, mode=mode, weight=weight, expected=expected, who=self._who, why=why
            )

        return self._audited_move("channel.candidate", name, expected, move, release=digest, mode=mode, weight=weight, why=why)

    def withdraw(self, name: str, *, why: str = "", revision: int | None = None) -> Channel:
        """End the trial of a channel's candidate."""
        expected = self._existing(name, revision)
        tried = expected.candidate.release if expected.candidate else ""

        def move() -> Channel:
            return withdraw_candidate(self._storage, name, expected=expected, who=self._who, why=why)

        return self._audited_move("channel.withdraw", name, expected, move, release=tried, why=why)

    def switch(self, name: str, *, why: str = "", revision: int | None = None) -> Channel:
        """Make the candidate of a channel its stable release."""
        expected = self._existing(name, revision)

        def move() -> Channel:
            return promote_candidate(self._storage, name, expected=expected, who=self._who, why=why or "the candidate takes over")

        return self._audited_move("channel.switch", name, expected, move, why=why)

    def approve(self, name: str, word: str, *, why: str, hours: float = 72.0) -> Channel:
        """Let a release be served on a channel that needs an approval."""
        digest = self.release(word)
        expected = find_channel(self._storage, name)

        def move() -> Channel:
            return approve_release(self._storage, name, digest, hours=hours, expected=expected, who=self._who, why=why)

        return self._audited_move("channel.approve", name, expected, move, release=digest, hours=hours, why=why)

    def roll_back(self, name: str, word: str = "", *, why: str = "", revision: int | None = None) -> Channel:
        """Point a channel at what it pointed at before, or at another release that it has served."""
        expected = self._existing(name, revision)
        target = self.release(word) if word else ""

        def move() -> Channel:
            return roll_back(self._storage, name, target, expected=expected, who=self._who, why=why or "rolled back")

        return self._audited_move("channel.rollback", name, expected, move, release=target, why=why)

    def _audited_move(self, action: Action, name: str, before: Channel | None, move: Callable[[], Channel], **details: Detail) -> Channel:
        """Move a channel, with an entry in the audit trail; the channel after it."""
        seen: dict[str, Detail] = {"from": before.stable if before else "", "revision": before.revision if before else 0}
        with audited_act(self._settings, action, name, details | seen) as result:
            after = move()
            result |= {"to": after.stable, "revision": after.revision}
        return after

    def _at_revision(self, name: str, revision: int | None) -> Channel | None:
        """The channel as it is now; a `DataError` where the caller has looked at another revision."""
        channel = find_channel(self._storage, name)
        now = channel.revision if channel else 0
        if revision is not None and now != revision:
            raise DataError(f"Channel {name!r} is at revision {now}, no longer at {revision}; look again.")
        return channel

    def _existing(self, name: str, revision: int | None) -> Channel:
        """The same, of a channel that points at something."""
        return self._at_revision(name, revision) or read_channel(self._storage, name)

    def _evidence(self, name: str, digest: str) -> str:
        """The newest evidence that a channel accepts."""
        documents = load_release(self._storage, digest).evidence
        if not documents:
            raise DataError(f"Release {digest} has no evidence yet. Run: touchstone promote")
        promotions = [one for one, evidence in documents.items() if not evidence.reevaluation]
        if name in UNPROVEN:
            return promotions[-1]
        gates = {gate.gate.name for gate in required_gates(name, None, self._settings, self._folder)}
        passed = [
            one
            for one, evidence in documents.items()
            if evidence.decision and evidence.decision.gate in gates and evidence.decision.state == "pass" and not evidence.forced
        ]
        if not passed:
            said = f"Channel {name!r} serves what its own gate ({PROMOTION}) has passed, and no evidence of {digest} says so"
            raise NotProven(f"{said}. Promote it there: touchstone promote {digest} --channel {name}")
        if (worse := found_worse(documents, documents[passed[-1]].created_at)) and worse.reevaluation:
            said = f"{digest} was evaluated again on {worse.reevaluation.channel} at {worse.created_at}, and {worse.reevaluation.message}"
            raise NotProven(f"Since its gate passed, {said}. Hold it against the gate again, then promote it.")
        return passed[-1]
