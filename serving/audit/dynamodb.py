"""The audit trail in a DynamoDB table, which infrastructure code makes.

    pk                  sk                       what
    tenant#<tenant>     <place>                  an entry
    tenant#<tenant>     <place>#outcome          how it ended, right behind it

Nothing is read but by `Query` and written but by `PutItem` on condition that it is not there. Every item ends by its `ttl`.
"""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, cast

from serving.audit.record import AuditedAct, AuditEntry, AuditOutcome, AuditQuery
from serving.pipeline.errors import StoreError

OUTCOME = "#outcome"


class DynamoAuditStore:
    """A trail in a table."""

    def __init__(self, table: str, *, region: str, endpoint: str = "", retention_s: float) -> None:
        self.place = f"dynamodb:{table}"
        self._name = table
        self._region = region
        self._endpoint = endpoint
        self._retention_s = retention_s
        self._lock = threading.Lock()
        self._opened: Any = None

    def append(self, entry: AuditEntry) -> None:
        """Write an entry."""
        facts = {name: getattr(entry, name) for name in ("id", "tenant", "who", "source", "action", "subject")}
        item = self._key(entry) | facts | {"at": _number(entry.at), "details": _text(entry.details)}
        kept = self._put(item)
        if kept is not None and _entry(kept) != entry:
            raise StoreError(f"The audit trail {self.place} has another entry {entry.id}; it stays as it is.")

    def append_outcome(self, entry: AuditEntry, outcome: AuditOutcome) -> None:
        """Write how it ended, where nothing is written of that yet."""
        columns = {"ending": outcome.ending, "reason": outcome.reason, "at": _number(outcome.at), "details": _text(outcome.details)}
        self._put(self._key(entry, OUTCOME) | columns)

    def find(self, query: AuditQuery) -> list[AuditedAct]:
        """Acts, the newest first; an outcome comes before its entry."""
        found: list[AuditedAct] = []
        outcome: Mapping[str, Any] | None = None
        for item in self._items(query):
            if item["sk"].endswith(OUTCOME):
                outcome = item
                continue
            entry = _entry(item)
            ended = _outcome(outcome) if outcome and outcome["sk"] == f"{entry.place}{OUTCOME}" else None
            if query.admits(entry):
                found.append(AuditedAct(entry, ended))
            if len(found) == query.limit:
                break
        return found

    def _items(self, query: AuditQuery) -> Iterator[Mapping[str, Any]]:
        first, end = query.places
        if end <= first:
            return
        asked: dict[str, Any] = {
            "KeyConditionExpression": "pk = :pk AND sk BETWEEN :first AND :end",
            "ExpressionAttributeValues": {":pk": _tenant(query.tenant), ":first": first, ":end": end},
            "ScanIndexForward": False,
            "ConsistentRead": True,
        }
        if not (query.who or query.action or query.subject):  # else as much as a call brings, since most of it may be of others
            asked["Limit"] = 2 * query.limit + 1
        while True:
            with self._table() as table:
                page = table.query(**asked)
                items = page["Items"]
            yield from (item for item in items if item["sk"] < end)
            if "LastEvaluatedKey" not in page:
                return
            asked["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def _key(self, entry: AuditEntry, kind: str = "") -> dict[str, Any]:
        return {"pk": _tenant(entry.tenant), "sk": f"{entry.place}{kind}", "ttl": int(entry.at + self._retention_s)}

    def _put(self, item: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Write an item unless one is there, and return that: a call that was tried again finds what it wrote itself."""
        from boto3.dynamodb.types import TypeDeserializer
        from botocore.exceptions import ClientError

        with self._table() as table:
            try:
                answer = table.put_item(
                    Item=dict(item), ConditionExpression="attribute_not_exists(pk)", ReturnValuesOnConditionCheckFailure="ALL_OLD"
                )
                answer["ResponseMetadata"]["RequestId"]  # whatever else says 200 has written nothing down
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") != "ConditionalCheckFailedException":
                    raise
                read, kept = TypeDeserializer(), cast(dict[str, Any], error.response).get("Item", {})
                return {name: read.deserialize(value) for name, value in kept.items()}
        return None

    @contextmanager
    def _table(self) -> Iterator[Any]:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            with self._lock:
                if self._opened is None:
                    config = Config(connect_timeout=3, read_timeout=5, retries={"mode": "standard", "max_attempts": 3})
                    resource = boto3.resource("dynamodb", region_name=self._region, endpoint_url=self._endpoint or None, config=config)
                    self._opened = resource.Table(self._name)
            yield self._opened
        except (BotoCoreError, ClientError) as error:
            raise StoreError(f"The audit trail {self.place} does not answer: {str(error).rstrip('.')}.") from error
        except (KeyError, AttributeError) as error:  # what boto3 makes of a page of a proxy
            raise StoreError(f"The audit trail {self.place} answers as no DynamoDB does. Is TOUCHSTONE_DYNAMODB_ENDPOINT right?") from error


def _tenant(tenant: str) -> str:
    return f"tenant#{tenant}"


def _number(value: float) -> Decimal:
    return Decimal(repr(value))


def _text(details: Mapping[str, Any]) -> str:
    return json.dumps(dict(details), ensure_ascii=True)


def _entry(item: Mapping[str, Any]) -> AuditEntry:
    facts = {name: item[name] for name in ("id", "tenant", "who", "source", "action", "subject")}
    return AuditEntry(**facts, at=float(item["at"]), details=json.loads(item["details"]))


def _outcome(item: Mapping[str, Any]) -> AuditOutcome:
    return AuditOutcome(float(item["at"]), item["ending"], item["reason"], json.loads(item["details"]))
