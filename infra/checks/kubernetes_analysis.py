"""Our own rules for an analysis of Argo Rollouts, whose kinds have no schema at hand: it asks what is there, and shows no key."""

import json
import re
from collections.abc import Iterator, Sequence

from infra.checks.kubernetes_rules import Doc, named


def analysis_breaches(docs: Sequence[Doc], services: set[str]) -> Iterator[str]:
    """Where an analysis of Argo Rollouts asks what is not there, shows a key, or takes what is undecided for a failure."""
    namespaces = {doc["metadata"]["name"] for doc in docs if doc["kind"] == "Namespace"}
    hosts = services | {f"{doc['metadata']['name']}.{doc['metadata']['namespace']}" for doc in docs if doc["kind"] == "Service"}
    for doc in (doc for doc in docs if doc["kind"] == "AnalysisTemplate"):
        given = {one["name"]: str(one.get("value", "")) for one in doc["spec"]["args"]} | {"namespace": min(namespaces, default="")}
        secret = {one["name"] for one in doc["spec"]["args"] if "secretKeyRef" in one.get("valueFrom", {})}
        for metric in doc["spec"]["metrics"]:
            where = f"{named(doc)}: {metric['name']}"
            web = metric["provider"].get("web", {})
            address = web.get("url") or metric["provider"]["prometheus"]["address"]
            asked = re.findall(r"\{\{args\.([a-z-]+)\}\}", json.dumps(metric["provider"]))
            yield from (f"{where} asks for the argument {name!r}, which there is none of" for name in sorted({*asked} - {*given}))
            for name, value in given.items():
                address = address.replace(f"{{{{args.{name}}}}}", value)
            host = address.split("/")[2].partition(":")[0]
            if host.removesuffix(".svc.cluster.local") not in hosts:
                yield f"{where} asks {host}, and there is no such service"
            for header in web.get("headers", []):
                if header["key"] == "Authorization" and not any(f"{{{{args.{name}}}}}" in header["value"] for name in secret):
                    yield f"{where} has a key that comes from no secret"
            if address.endswith("/verdict"):
                yield from (f"{where}: {what}" for what in verdict_breaches(metric))


def verdict_breaches(metric: Doc) -> Iterator[str]:
    """Where the conditions on a verdict are not those of its words."""
    good, bad = (set(re.findall(r'"([^"]+)"', metric.get(name, ""))) for name in ("successCondition", "failureCondition"))
    if (good, bad) != ({"no worse", "better"}, {"worse"}):
        yield "succeeds by no worse and better, fails by worse, and is inconclusive while undecided: both conditions have to say so"
    if metric.get("inconclusiveLimit", 0) >= metric["count"]:
        yield "ends well although it was undecided to the end"
