"""What outlives the cluster of the two stores that it has: the database's snapshots, and the secrets in which pods find both."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from infra.pause.commands import Broken, Commands, Refused

ALERTED = {"pager", "tickets", "heartbeat"}  # as infra/observability/alertmanager/alertmanager.yml calls them


@dataclass(frozen=True)
class Stores:
    """The cache of the channels, the database of MLflow, and secrets."""

    names: Mapping[str, Any]
    commands: Commands

    def latest_snapshot(self) -> str:
        """The snapshot that the last pause left; empty for none."""
        query = ("--query", "DBSnapshots[].[SnapshotCreateTime,DBSnapshotIdentifier,Status]", "--output", "json")
        command = ("aws", "rds", "describe-db-snapshots", "--db-instance-identifier", self.names["postgres"], "--snapshot-type", "manual")
        found = json.loads(self.commands.ask(*command, "--region", self.names["region"], *query) or "[]")
        if making := [name for _, name, status in found if status == "creating"]:
            raise Broken(
                ["reading snapshots"], f"{making[0]} is still being made, and an older one would lose what came after it. Wait for it."
            )
        finished = [(made, name) for made, name, status in found if status == "available"]
        return max(finished)[1] if finished else ""

    def refuse_without_callers(self, channel: str) -> None:
        """`Refused` where nobody has put a channel's callers into their secret: none of its pods would start."""
        name = self.names["secrets"][f"{channel}_api_keys"]
        command = ("aws", "secretsmanager", "describe-secret", "--secret-id", name, "--query", "VersionIdsToStages", "--output", "json")
        try:
            versions = json.loads(self.commands.ask(*command, "--region", self.names["region"]) or "null")
        except Broken as error:
            raise self._without_secret(name) if "ResourceNotFoundException" in error.said else error from None
        if not versions:
            raise Refused(f"The secret {name} is empty, and no pod of {channel} starts without its callers. infra/README.md, step 4")

    @staticmethod
    def _without_secret(name: str) -> Refused:
        return Refused(f"There is no secret {name}: the persistent layer makes it. infra/README.md, step 3")

    def _secret(self, name: str) -> str:
        """What is in a secret; empty where nothing is yet."""
        try:
            command = ("aws", "secretsmanager", "get-secret-value", "--secret-id", name, "--query", "SecretString", "--output", "text")
            return self.commands.ask(*command, "--region", self.names["region"]).strip()
        except Broken as error:
            if "ResourceNotFoundException" not in error.said:
                raise
            if "secret value" in error.said:  # it is there, and has none yet
                return ""
            raise self._without_secret(name) from None

    def _keep_secret(self, name: str, text: str) -> None:
        command = (
            "aws",
            "secretsmanager",
            "put-secret-value",
            "--secret-id",
            name,
            "--secret-string",
            "file:///dev/stdin",
            "--query",
            "join(' ', ['written:', Name])",
        )
        self.commands.change(*command, "--output", "text", "--region", self.names["region"], given=text)

    def database_password(self) -> str:
        """That of the secret which MLflow reads; a new one is kept there before the database has it, so that no kill loses it."""
        name = self.names["secrets"]["mlflow_database"]
        if known := urlsplit(self._secret(name)).password:
            return known
        password = secrets.token_urlsafe(32)
        self._keep_secret(name, _database_uri(password, "not-there-yet"))
        return password

    def cache_secret(self, channel: str) -> dict[str, str]:
        """What is in the secret of a channel's cache."""
        name = self.names["secrets"][f"{channel}_cache_secret"]
        try:
            return json_of(self._secret(name) or "{}")
        except ValueError:
            raise Refused(
                f'The secret {name} is not {{"secret": "…", "redis": "…"}}. Put that there, or {{}}: a resume fills it.'
            ) from None

    def alert_addresses(self) -> dict[str, str]:
        """Where alerts go, as somebody has put it into its secret; empty where nobody has."""
        name = self.names["secrets"]["alerts"]
        try:
            found = json_of(self._secret(name) or "{}")
        except ValueError:
            found = {"": ""}
        if not set(found) <= ALERTED or not all(str(address).startswith("https://") for address in found.values()):
            raise Refused(f'The secret {name} is not {{"pager": "https://…", "tickets": …, "heartbeat": …}}. Put that there, or {{}}.')
        return found

    def tell_addresses(self, outputs: Mapping[str, str], password: str, known: Mapping[str, Mapping[str, str]]) -> None:
        """Write the addresses that are new with every cluster into the secrets that pods read."""
        if host := outputs.get("database"):
            self._keep_secret(self.names["secrets"]["mlflow_database"], _database_uri(password, host))
        for channel in self.names["namespaces"]:
            secret = known[channel].get("secret") or secrets.token_urlsafe(48)
            wanted = {"secret": secret, "redis": outputs.get("cache", "")}
            if wanted != known[channel]:
                self._keep_secret(self.names["secrets"][f"{channel}_cache_secret"], json.dumps(wanted))


def json_of(text: str) -> dict[str, str]:
    """A JSON object; `ValueError` where it is none."""
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError(text)  # noqa: TRY004 (a mistake in a document, as what is no JSON at all is)
    return found


def _database_uri(password: str, host: str) -> str:
    return f"postgresql://mlflow:{password}@{host}:5432/mlflow"
