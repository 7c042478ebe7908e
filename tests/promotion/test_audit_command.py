"""What commands do to what others see is written down, and shown by `touchstone audit`."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from serving.audit.record import AuditEntry, AuditOutcome
from serving.audit.sqlite import SqliteAuditStore
from serving.pipeline.errors import StoreError
from tests.support.world import World

PROMOTE = ("promote", "one.yaml", "--corpus", "tiny")


@pytest.fixture
def acting(gated: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """The small company, in which ann runs the commands."""
    monkeypatch.setenv("TOUCHSTONE_WHO", "ann")
    return gated


def trail(world: World, *filters: str) -> list[dict[str, Any]]:
    """What the command shows, the oldest first."""
    said = world.touchstone("audit", "--json", *filters)
    assert said.code == 0, said.err
    assert isinstance(said.json, list)
    return list(reversed(said.json))


def told(acts: list[dict[str, Any]]) -> list[tuple[str, str, str, str]]:
    return [(one["action"], one["subject"], one["outcome"], one["reason"]) for one in acts]


def test_promotions_and_moves_are_told_with_who_from_and_to_and_what_was_refused(acting: World) -> None:
    assert acting.touchstone(*PROMOTE, "--channel", "prod").code == 1
    assert acting.touchstone(*PROMOTE, "--force", "--why", "the demo is at noon").code == 0
    assert acting.touchstone("promote", "two.yaml", "--corpus", "tiny", "--force", "--why", "again").code == 0
    assert acting.touchstone("release", "rollback", "--why", "slower").code == 0
    assert acting.touchstone("release", "rollback", "--to", "channel:dev").code == 2
    acts = trail(acting)
    first, second = acts[1]["result"]["to"], acts[2]["result"]["to"]
    assert acting.touchstone("channel", "set", "dev", "--candidate", second, "--weight", "25").code == 0
    assert acting.touchstone("channel", "set", "dev", "--withdraw", "--why", "enough").code == 0
    assert acting.touchstone("channel", "set", "prod", "--stable", first).code == 1
    assert acting.touchstone("channel", "approve", "prod", first, "--why", "read it").code == 0
    acts = trail(acting)
    assert told(acts) == [
        ("channel.promote", "prod", "refused", "Not proven"),
        ("channel.promote", "dev", "done", ""),
        ("channel.promote", "dev", "done", ""),
        ("channel.rollback", "dev", "done", ""),
        ("channel.rollback", "dev", "refused", "Data error"),
        ("channel.candidate", "dev", "done", ""),
        ("channel.withdraw", "dev", "done", ""),
        ("channel.promote", "prod", "refused", "Not proven"),
        ("channel.approve", "prod", "done", ""),
    ]
    assert {(one["who"], one["source"], one["tenant"]) for one in acts} == {("ann", "command line", "public")}
    forced, rolled, tried = acts[1], acts[3], acts[5]
    assert (forced["details"]["forced"], forced["details"]["why"]) == (True, "the demo is at noon")
    assert (rolled["details"], rolled["result"]) == ({"from": second, "revision": 2, "why": "slower"}, {"to": first, "revision": 3})
    assert (tried["details"]["mode"], tried["details"]["weight"]) == ("canary", 0.25)


def test_filters_and_the_table(acting: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert acting.touchstone("audit").out == "Nothing of that is in .touchstone/audit.db.\n"
    assert not Path(".touchstone/audit.db").exists()  # looking leaves nothing
    for who in ("ann", "bob"):
        monkeypatch.setenv("TOUCHSTONE_WHO", who)
        assert acting.touchstone(*PROMOTE, "--channel", "prod").code == 1
    assert acting.touchstone("key", "create", "carl", "--keys", "keys.yaml").code == 0
    at = trail(acting)[1]["at"]
    for filters, count in (
        (("--who", "bob"), 2), (("--action", "key.create"), 1), (("--subject", "prod"), 2), (("--since", at), 2), (("--until", at), 1),
        (("--since", "2999-01-01"), 0), (("--tenant", "acme"), 0), (("--limit", "1"), 1), (("--who", "bob", "--subject", "carl"), 1),
    ):  # fmt: skip
        assert len(trail(acting, *filters)) == count, filters
    shown = acting.touchstone("audit", "--action", "channel.promote").out
    for words in ("channel.promote", "ann", "bob", "prod", "refused: Not proven", "command line"):
        assert words in shown
    assert "key.create" not in shown


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--action", "channel.promot"), "No action 'channel.promot'. Did you mean 'channel.promote'?"),
        (("--since", "yesterday"), "--since 'yesterday': write a day or a time"),
        (("--limit", "0"), "greater than or equal to 1"),
    ],
)
def test_a_mistake_is_one_line(acting: World, arguments: tuple[str, ...], words: str) -> None:
    said = acting.touchstone("audit", *arguments)
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert words in said.err


def test_keys_are_told_by_the_beginning_of_their_hash(acting: World) -> None:
    said = acting.touchstone("key", "create", "carl", "--tenant", "acme", "--scope", "admin", "--keys", "keys.yaml", "--json")
    assert isinstance(said.json, dict)
    key = str(said.json["key"])
    assert acting.touchstone("key", "rotate", "carl", "--keys", "keys.yaml").code == 0
    assert acting.touchstone("key", "revoke", key, "--keys", "keys.yaml").code == 2  # its id was meant
    assert acting.touchstone("key", "revoke", "carl", "--keys", "keys.yaml").code == 0
    acts = trail(acting)
    assert told(acts) == [
        ("key.create", "carl", "done", ""),
        ("key.rotate", "carl", "done", ""),
        ("key.revoke", "ts_***", "refused", "Data error"),
        ("key.revoke", "carl", "done", ""),
    ]
    assert (acts[0]["details"]["tenant"], acts[0]["details"]["scopes"]) == ("acme", "admin")
    assert set(acts[3]["result"]["hashes"].split(", ")) == {acts[0]["result"]["hash"], acts[1]["result"]["hash"]}
    assert key.encode() not in Path(".touchstone/audit.db").read_bytes()


def test_an_ingest_is_told_and_every_document_that_it_removes(acting: World) -> None:
    shelf = Path("shelf")
    shelf.mkdir()
    for name in ("moon.txt", "sun.txt"):
        (shelf / name).write_text("Lunar travel is booked by the lunar desk.")
    ingest = ("ingest", "shelf", "--tenant", "acme", "--no-index")
    assert acting.touchstone(*ingest, "--dry-run").code == 0
    assert trail(acting, "--tenant", "acme") == []
    assert acting.touchstone(*ingest).code == 0
    (shelf / "moon.txt").unlink()
    assert acting.touchstone(*ingest, "--prune").code == 0
    acts = trail(acting, "--tenant", "acme")
    place = str(shelf.resolve())
    assert told(acts) == [
        ("document.ingest", place, "done", ""),
        ("document.ingest", place, "done", ""),
        ("document.delete", "shelf/moon.txt", "done", ""),
    ]
    assert acts[0]["result"] == {"added": 2, "changed": 0, "removed": 0}
    assert acts[1]["result"] == {"added": 0, "changed": 0, "removed": 1}
    assert acts[2]["details"]["collection"] == place
    assert b"lunar desk" not in Path(".touchstone/audit.db").read_bytes()


def test_what_is_forgotten_is_told(acting: World) -> None:
    assert acting.touchstone("eval", "-c", "one.yaml", "--golden", "tiny").code == 0
    assert acting.touchstone("store", "gc", "--unused-days", "0").code == 0
    for path in Path(".touchstone/indexes").rglob("*"):
        os.utime(path, (1.0, 1.0))
    assert acting.touchstone("store", "gc", "--indexes").code == 0
    gone, *indexes = trail(acting)
    assert (gone["action"], gone["details"]["unused_days"]) == ("store.gc", 0)
    assert gone["result"]["removed"] > 0
    assert {(one["action"], one["outcome"]) for one in indexes} <= {("index.delete", "done")}


def test_a_champion_and_a_second_look_at_a_channel_are_told(acting: World) -> None:
    acting.pass_gate("one.yaml")
    assert acting.touchstone(*PROMOTE).code == 0
    assert acting.touchstone("channel", "evaluate", "dev").code == 0
    assert acting.touchstone("champion", "set", "experiments/gates/pull_request.yaml", "-c", "one.yaml").code == 0
    promoted, evaluated, champion = trail(acting)
    assert told([evaluated, champion]) == [("channel.evaluate", "dev", "done", ""), ("champion.set", "pull_request", "done", "")]
    assert (evaluated["result"]["release"], evaluated["result"]["passed"]) == (promoted["result"]["to"], True)


def test_where_the_trail_cannot_be_written_the_command_fails_and_nothing_is_changed(acting: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert acting.touchstone(*PROMOTE, "--force", "--why", "x").code == 0
    assert acting.touchstone("promote", "two.yaml", "--corpus", "tiny", "--force", "--why", "x").code == 0
    assert acting.touchstone("key", "create", "carl", "--keys", "keys.yaml").code == 0
    assert acting.touchstone("eval", "-c", "one.yaml", "--golden", "tiny").code == 0  # something to forget
    shelf = Path("shelf")
    shelf.mkdir()
    (shelf / "moon.txt").write_text("Lunar travel is booked by the lunar desk.")

    def everything() -> dict[str, bytes]:
        kept = [*Path("releases").rglob("*"), *Path(".touchstone").rglob("*"), Path("keys.yaml")]
        return {str(path): path.read_bytes() for path in kept if path.is_file() and path.suffix != ".db-shm"}

    before, count = everything(), len(trail(acting))
    monkeypatch.setenv("TOUCHSTONE_AUDIT", "one.yaml/audit.db")
    stable = json.loads(acting.touchstone("channel", "show", "dev", "--json").out)["stable"]
    for command in (
        (*PROMOTE, "--force", "--why", "y"),
        ("release", "rollback"),
        ("channel", "set", "dev", "--stable", stable),
        ("channel", "approve", "prod", stable, "--why", "y"),
        ("ingest", "shelf", "--no-index"),
        ("store", "gc", "--unused-days", "0"),
        ("key", "create", "dora", "--keys", "keys.yaml"),
        ("key", "revoke", "carl", "--keys", "keys.yaml"),
    ):
        said = acting.touchstone(*command)
        assert said.code == 3, said
        assert "Nothing was done" in said.err
        assert said.err.count("\n") == 1
    assert acting.touchstone("audit").code == 3
    assert acting.touchstone("channel", "show", "dev").code == 0  # who only looks is not held up
    monkeypatch.delenv("TOUCHSTONE_AUDIT")
    assert everything() == before
    assert len(trail(acting)) == count


def test_an_outcome_that_is_lost_leaves_the_move_done_and_begun(
    acting: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def lose(store: SqliteAuditStore, entry: AuditEntry, outcome: AuditOutcome) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(SqliteAuditStore, "append_outcome", lose)  # no way to fill a disk between two calls
    assert acting.touchstone(*PROMOTE, "--force", "--why", "x").code == 0
    assert told(trail(acting)) == [("channel.promote", "dev", "begun", "")]
    assert "channel.promote is done, and stays begun in the audit trail: the disk is full" in caplog.text


def test_a_project_elsewhere_has_its_trail_there(acting: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.settings import read_settings

    (tmp_path / ".env").write_text("TOUCHSTONE_AUDIT=kept/audit.db\n")
    monkeypatch.chdir("/")
    assert read_settings(tmp_path).audit_place == str(tmp_path / "kept/audit.db")
    (tmp_path / ".env").write_text("TOUCHSTONE_AUDIT=dynamodb:touchstone-dev-audit\n")
    assert read_settings(tmp_path).audit_place == "dynamodb:touchstone-dev-audit"


def test_a_gate_whose_file_is_wrong_is_the_mistake_of_a_moment_and_no_act(acting: World) -> None:
    Path("lax.yaml").write_text(yaml.safe_dump({"name": "lax"}))
    assert acting.touchstone(*PROMOTE, "--gate", "lax.yaml").code == 2
    assert acting.touchstone("promote", "none.yaml").code == 2
    assert acting.touchstone("channel", "set", "dev", "--stable", "0000").code == 2
    assert trail(acting) == []
