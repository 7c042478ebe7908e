"""What the bill is reckoned from: prices, assumptions and the lifecycle that Terraform sets; a mistake in one of them is one line."""

import datetime
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

HOURS_A_WEEK = 168.0
NUMBERS = {  # of usage.yaml, with the most that each may be; none: any number from 0 on
    "hours_a_week": HOURS_A_WEEK, "nodes.working": None, "nodes.off_hours": None, "nodes.disk_gb": None, "volumes_gb": None,
    "load_balancers": None, "cache.nodes": None, "database.gb": None, "resume_hours": 24.0, "pauses_a_week": 50.0,
    "cluster_log_gb_a_day": None, "traffic.questions": None, "traffic.nat_gb": None, "traffic.lcu": None, "traffic.log_gb": None,
    "traffic.trace_kb": None, "traffic.reads": None, "kept.images_gb": None, "kept.secrets": None, "kept.alarms": None,
    "kept.traces_gb": None, "kept.audit_gb": None, "kept.snapshots": None, "kept.snapshot_gb": None, "kept.logs_gb": None,
    "storage.months": 120.0,
}  # fmt: skip
TEXTS = ("nodes.type", "cache.type", "database.type")
OF_A_MODEL = {"share": 1.0, "input_tokens": None, "output_tokens": None}
OF_A_BUCKET = {"old": 1.0, "versions_gb_a_month": None, "objects_per_gb": None, "read_old_gb_a_month": None}


class CostsError(Exception):
    """A mistake in the two files, in one line."""


@dataclass(frozen=True)
class ListPrice:
    """One list price and the day it is of."""

    usd: float
    per: str
    as_of: datetime.date
    unchecked: bool


@dataclass(frozen=True)
class LifecycleRule:
    """What the lifecycle does with a bucket's objects, in days, as Terraform has it."""

    archive: float | None
    expire: float | None
    old_archive: float | None
    old_expire: float | None


def read_prices(path: Path) -> dict[str, ListPrice]:
    """The price file; every price has a day, and a source or the word that it has none."""
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    found = {}
    for name, entry in _mapping(data, "prices", path.name).items():
        if not isinstance(entry, dict) or "per" not in entry:
            raise CostsError(f"{path.name}: {name} is {entry!r}; usd, per, as_of and seen are needed.")
        if not isinstance(entry.get("as_of"), datetime.date):
            raise CostsError(f"{path.name}: {name} has no day. Write as_of: YYYY-MM-DD.")
        if bool(entry.get("seen")) == bool(entry.get("unchecked")):
            raise CostsError(f"{path.name}: {name} needs either seen: <address> or unchecked: true.")
        if not _is_number(entry.get("usd")) or entry["usd"] <= 0:
            raise CostsError(f"{path.name}: {name} has usd: {entry.get('usd')!r}; a number above 0 is needed.")
        found[name] = ListPrice(float(entry["usd"]), str(entry["per"]), entry["as_of"], bool(entry.get("unchecked")))
    return found


def read_usage(path: Path, rules: Mapping[str, LifecycleRule]) -> dict[str, Any]:
    """The assumptions; each is there, a number where one is needed, and none is unknown."""
    usage = yaml.safe_load(path.read_text(encoding="utf-8"))
    models, buckets = (_mapping(usage, name, path.name) for name in ("models", "storage.buckets"))
    known = set(_dotted({name: value for name, value in usage.items() if name != "models"}))
    known = {name for name in known if not name.startswith("storage.buckets.")}
    if unknown := sorted(known - set(NUMBERS) - set(TEXTS)):
        raise CostsError(f"{path.name}: {unknown[0]} is no assumption. Known: {', '.join([*NUMBERS, *TEXTS])}.")
    for name, most in NUMBERS.items():
        _number(usage, name, most, path.name)
    for name in TEXTS:
        if not isinstance(_entry(usage, name, path.name), str):
            raise CostsError(f"{path.name}: {name} is {_entry(usage, name, path.name)!r}; the name of a price is needed.")
    for model in models:
        _check_each(models, model, OF_A_MODEL, f"{path.name}: models")
        if not isinstance(models[model].get("model"), str):
            raise CostsError(f"{path.name}: models.{model} names no model, as genai-prices has it: model: amazon.nova-lite-v1:0")
    if differing := sorted(set(buckets) ^ set(rules)):
        raise CostsError(
            f"{path.name}: storage.buckets has to be {', '.join(rules)}, as Terraform makes them; {differing[0]} is not in both."
        )
    for bucket in buckets:
        _check_each(buckets, bucket, OF_A_BUCKET, f"{path.name}: storage.buckets")
        if "gb" not in buckets[bucket] and "gb_a_month" not in buckets[bucket]:
            raise CostsError(f"{path.name}: storage.buckets.{bucket} needs gb or gb_a_month.")
        for name in {"gb", "gb_a_month"} & set(buckets[bucket]):
            _number(buckets, f"{bucket}.{name}", None, f"{path.name}: storage.buckets")
    if usage["storage"]["months"] < 1 or usage["nodes"]["working"] < 1 or usage["nodes"]["off_hours"] > usage["nodes"]["working"]:
        raise CostsError(f"{path.name}: one month and one node or more are needed, and no more nodes off hours than at work.")
    return dict(usage)


def _check_each(entries: Mapping[str, Any], name: str, numbers: Mapping[str, float | None], where: str) -> None:
    for number, most in numbers.items():
        _number(entries, f"{name}.{number}", most, where)


def _number(entries: Mapping[str, Any], name: str, most: float | None, where: str) -> None:
    value = _entry(entries, name, where)
    if not _is_number(value) or value < 0 or (most is not None and value > most):
        raise CostsError(f"{where}: {name} is {value!r}; a number from 0 {'on' if most is None else f'to {most:g}'} is needed.")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _mapping(data: object, name: str, where: str) -> dict[str, Any]:
    value = _entry(data, name, where)
    if not isinstance(value, dict):
        raise CostsError(f"{where}: {name} is {value!r}; entries by their names are needed.")
    return value


def _entry(data: object, name: str, where: str) -> Any:
    for part in name.split("."):
        if not isinstance(data, Mapping) or part not in data:
            raise CostsError(f"{where}: {name} is missing.")
        data = data[part]
    return data


def _dotted(entries: Mapping[str, Any], before: str = "") -> Iterable[str]:
    for name, value in entries.items():
        if isinstance(value, dict):
            yield from _dotted(value, f"{before}{name}.")
        else:
            yield f"{before}{name}"


def read_rules(path: Path) -> dict[str, LifecycleRule]:
    """The lifecycle of every bucket, out of the Terraform that sets it."""
    text = path.read_text(encoding="utf-8")
    stage_days = re.search(r"stage_days", text) and _variable(path.with_name("variables.tf"), "stage_days")
    found = {}
    for name, body in re.findall(r"^\s+(\w+)\s+= \{ (archive = .*?) \}$", text, re.MULTILINE):
        values = {key: _days(value, stage_days) for key, value in re.findall(r"(\w+) = ([\w.]+)", body)}
        found[name] = LifecycleRule(values["archive"], values["expire"], values["old_archive"], values["old_expire"])
    return found


def _days(value: str, stage_days: float | None) -> float | None:
    return stage_days if value == "var.stage_days" else None if value == "null" else float(value)


def _variable(path: Path, name: str) -> float:
    found = re.search(rf'variable "{name}" \{{[^}}]*default\s+= (\d+)', path.read_text(encoding="utf-8"))
    if not found:
        raise CostsError(f"{path.name}: the variable {name} has no default.")
    return float(found[1])
