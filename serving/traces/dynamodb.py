"""Traces and feedback in one DynamoDB table, which infrastructure code makes.

    pk                  sk                       what
    trace#<id>          trace                    a trace; `everyone` and `at`, `tenant` and `at` are the keys of its two indexes
    trace#<id>          feedback#<id>            what somebody said of it; `everyone` is feedback#<tenant>, so that an index has what is new
    document#<id>       <trace id>               a trace that holds words of a document; of an id that is too long for a key its digest

Every item ends by its `ttl`, so nothing has to be removed.
"""

import gzip
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from decimal import Decimal
from heapq import nlargest
from itertools import islice
from typing import Any

from serving.pipeline.errors import StoreError
from serving.traces.record import FAILED, FEEDBACK_SHOWN, Feedback, TraceQuery, TraceRecord
from serving.traces.summary import TraceSummary

BY_TENANT, BY_TIME = "by_tenant", "by_time"  # the indexes: (tenant, at) and (everyone, at), all attributes projected
EVERYONE = "1"
BATCH = 25  # items of one call
LONGEST_KEY = 2048  # bytes
MOST_BYTES = 350_000  # of a trace, compressed; an item may have 400 KB
NOT_DYNAMODB = "answers as no DynamoDB does. Is TOUCHSTONE_DYNAMODB_ENDPOINT right?"
BULKY = ("hits", "prompt", "ranking", "attempts")  # what a trace that is too large leaves out


class DynamoTraceStore:
    """A trace store in a table."""

    def __init__(self, table: str, *, region: str, endpoint: str = "", retention_s: float) -> None:
        import boto3
        from botocore.config import Config

        self.place = f"dynamodb:{table}"
        self._retention_s = retention_s
        config = Config(connect_timeout=3, read_timeout=5, retries={"mode": "standard", "max_attempts": 3})
        with self._dynamodb_errors():
            self._table = boto3.resource("dynamodb", region_name=region, endpoint_url=endpoint or None, config=config).Table(table)

    def put(self, traces: Sequence[TraceRecord]) -> None:
        """Store traces."""
        with self._dynamodb_errors(), self._table.batch_writer(overwrite_by_pkeys=["pk", "sk"]) as batch:
            for record in traces:
                batch.put_item(Item=self._item(record))
                for document in record.documents:
                    batch.put_item(Item={"pk": _document_key(document), "sk": record.id, "ttl": self._ends(record.at)})

    def get(self, trace_id: str) -> TraceRecord | None:
        """A trace by its id."""
        with self._dynamodb_errors():
            answer = _checked(self._table.get_item(Key={"pk": f"trace#{trace_id}", "sk": "trace"}, ConsistentRead=True))
            item = answer.get("Item")
        return _record(item) if item else None

    def find(self, query: TraceQuery) -> list[TraceRecord]:
        """Traces, the newest first; what an index does not know is filtered after it, page by page."""
        from boto3.dynamodb.conditions import Attr, Key

        key = Key("everyone").eq(EVERYONE) if query.tenant is None else Key("tenant").eq(query.tenant)
        since, before = Decimal(str(query.since or 0.0)), Decimal(str(query.before or 1e12))
        asked: dict[str, Any] = {
            "IndexName": BY_TIME if query.tenant is None else BY_TENANT,
            "KeyConditionExpression": key & Key("at").between(since, before),
            "ScanIndexForward": query.oldest_first,
        }
        asked["FilterExpression"] = Attr("sk").eq("trace")  # feedback has a tenant too
        if not query.failed:
            asked["FilterExpression"] &= Attr("role").ne(FAILED)
        for name in ("principal", "release", "role"):
            if value := getattr(query, name):
                asked["FilterExpression"] &= Attr(name).eq(value)
        found: list[TraceRecord] = []
        for item in self._pages(asked):
            record = _record(item)
            if query.before is None or record.at < query.before:
                found.append(record)
            if len(found) == query.limit:
                break
        return found

    def summaries(self, query: TraceQuery) -> list[TraceSummary]:
        """What is counted of traces, the newest first."""
        return [TraceSummary.of(record) for record in self.find(query)]

    def put_feedback(self, feedback: Feedback) -> None:
        """Store feedback."""
        data = {name: _number(value) for name, value in asdict(feedback).items() if value is not None and name != "tenant"}
        place = {"everyone": _feedback_of(feedback.tenant), "about_tenant": feedback.tenant}  # no `tenant`: that index is of traces
        keys = {"pk": f"trace#{feedback.trace_id}", "sk": f"feedback#{feedback.id}", "ttl": self._ends(feedback.at)}
        with self._dynamodb_errors():
            _checked(self._table.put_item(Item=data | place | keys))

    def feedback(self, trace_id: str) -> list[Feedback]:
        """The feedback on an answer, the oldest first."""
        from boto3.dynamodb.conditions import Key

        found = self._pages({"KeyConditionExpression": Key("pk").eq(f"trace#{trace_id}") & Key("sk").begins_with("feedback#")})
        newest = nlargest(FEEDBACK_SHOWN, map(_feedback, found), key=lambda one: (one.at, one.id))  # of any number, so many in memory
        return newest[::-1]

    def recent_feedback(self, tenant: str, since: float, limit: int, *, complaints: bool = False) -> list[Feedback]:
        """The feedback since a time, the newest first."""
        from boto3.dynamodb.conditions import Attr, Key

        key = Key("everyone").eq(_feedback_of(tenant)) & Key("at").gte(Decimal(str(since)))
        asked: dict[str, Any] = {"IndexName": BY_TIME, "KeyConditionExpression": key, "ScanIndexForward": False, "Limit": min(limit, 1000)}
        if complaints:
            asked["FilterExpression"] = Attr("kind").eq("correction") | (Attr("kind").eq("thumbs") & Attr("value").eq(Decimal(-1)))
        return [_feedback(item) for item in islice(self._pages(asked), limit)]

    def forget_document(self, document_id: str) -> int:
        """Take a document's words out of every trace; killed on the way, the same call goes on."""
        from boto3.dynamodb.conditions import Key

        holding = [item["sk"] for item in self._pages({"KeyConditionExpression": Key("pk").eq(_document_key(document_id))})]
        for trace_id in holding:
            if record := self.get(trace_id):
                with self._dynamodb_errors():
                    self._table.put_item(Item=self._item(record.without_words_of(document_id)))
            with self._dynamodb_errors():
                self._table.delete_item(Key={"pk": _document_key(document_id), "sk": trace_id})
        return len(holding)

    def forget_before(self, at: float) -> int:
        """Nothing: items end by themselves."""
        return 0

    def close(self) -> None:
        """Nothing is held open."""

    def _item(self, record: TraceRecord) -> dict[str, Any]:
        data = gzip.compress(json.dumps(record.trace).encode(), 6)
        if len(data) > MOST_BYTES:
            small = {name: value for name, value in record.trace.items() if name not in BULKY}
            data = gzip.compress(json.dumps(small).encode(), 6)
        facts = {name: getattr(record, name) for name in ("id", "tenant", "principal", "release", "role", "pair")}
        keys = {"pk": f"trace#{record.id}", "sk": "trace", "everyone": EVERYONE, "at": _number(record.at), "ttl": self._ends(record.at)}
        return facts | keys | {"documents": list(record.documents), "trace": data}

    def _ends(self, at: float) -> int:
        return int(at + self._retention_s)

    def _pages(self, asked: dict[str, Any]) -> Iterator[Mapping[str, Any]]:
        start: dict[str, Any] = {}
        while True:
            with self._dynamodb_errors():
                page = self._table.query(**asked, **start)
                items = page["Items"]
            yield from items
            if "LastEvaluatedKey" not in page:
                return
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    @contextmanager
    def _dynamodb_errors(self) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except (BotoCoreError, ClientError) as error:
            raise StoreError(f"The trace store {self.place} does not answer: {error}") from error
        except (KeyError, AttributeError) as error:  # what boto3 makes of a page of a proxy
            raise StoreError(f"The trace store {self.place} {NOT_DYNAMODB}") from error


def _checked(answer: Any) -> Mapping[str, Any]:
    """An answer, and a `KeyError` where it is none of DynamoDB, which numbers its requests."""
    answer["ResponseMetadata"]["RequestId"]
    found: Mapping[str, Any] = answer
    return found


def _document_key(document_id: str) -> str:
    key = f"document#{document_id}"
    return key if len(key.encode()) <= LONGEST_KEY else f"document#sha256:{hashlib.sha256(document_id.encode()).hexdigest()}"


def _feedback_of(tenant: str) -> str:
    return f"feedback#{tenant}"


def _number(value: Any) -> Any:
    return Decimal(repr(value)) if isinstance(value, float) else value


def _record(item: Mapping[str, Any]) -> TraceRecord:
    facts = {name: str(item[name]) for name in ("id", "tenant", "principal", "release", "role", "pair")}
    trace = json.loads(gzip.decompress(bytes(item["trace"])))
    return TraceRecord(at=float(item["at"]), documents=tuple(item["documents"]), trace=trace, **facts)


def _feedback(item: Mapping[str, Any]) -> Feedback:
    value = item.get("value")
    return Feedback(
        id=item["id"],
        trace_id=item["trace_id"],
        at=float(item["at"]),
        tenant=item.get("about_tenant") or item["tenant"],
        principal=item["principal"],
        kind=item["kind"],
        value=None if value is None else float(value),
        text=item["text"],
    )
