"""What a month costs in every state, and what pausing, off-hours scaling and the lifecycle save: `make costs`."""

import argparse
import datetime
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from inputs import HOURS_A_WEEK, CostsError, LifecycleRule, ListPrice, read_prices, read_rules, read_usage

HERE = Path(__file__).resolve().parent
STORAGE = HERE.parent / "terraform" / "persistent" / "storage.tf"
HOURS_A_MONTH = 730.0
DAYS_A_MONTH = 30.4
CLAIMS = {"pause": 0.90, "off_hours": 0.45, "lifecycle": 0.40}  # what the project set out with


@dataclass(frozen=True)
class Line:
    """One line of the bill: dollars a month when it runs day and night, off hours throughout, and paused throughout."""

    name: str
    kind: str  # compute, hourly, kept or traffic
    running: float
    off_hours: float
    paused: float
    prices: tuple[str, ...]


def bill(prices: Mapping[str, ListPrice], usage: Mapping[str, Any], rules: Mapping[str, LifecycleRule]) -> list[Line]:
    """Every line of a month."""

    def usd(name: str) -> float:
        if name not in prices:
            raise CostsError(f"prices.yaml has no {name!r}, which usage.yaml names.")
        return prices[name].usd

    def hourly(name: str, an_hour: float, *used: str) -> Line:
        return Line(name, "hourly", an_hour * HOURS_A_MONTH, an_hour * HOURS_A_MONTH, 0.0, used)

    def kept(name: str, a_month: float, *used: str) -> Line:
        return Line(name, "kept", a_month, a_month, a_month, used)

    nodes, cache, database, traffic, keep = usage["nodes"], usage["cache"], usage["database"], usage["traffic"], usage["kept"]
    node = (usd(nodes["type"]) * (1 + usd("eks_auto_mode"))) * HOURS_A_MONTH + nodes["disk_gb"] * usd("ebs_gp3")
    hours = usage["hours_a_week"] / HOURS_A_WEEK * HOURS_A_MONTH
    questions = traffic["questions"] * hours
    newest = max(price.as_of for price in prices.values())
    lines = [
        Line("nodes", "compute", node * nodes["working"], node * nodes["off_hours"], 0.0, (nodes["type"], "eks_auto_mode", "ebs_gp3")),
        hourly("EKS control plane", usd("eks_cluster"), "eks_cluster"),
        hourly("NAT gateway and its address", usd("nat_hour") + usd("public_ipv4"), "nat_hour", "public_ipv4"),
        hourly("load balancers, within the network", usage["load_balancers"] * usd("alb_hour"), "alb_hour"),
        hourly("volumes of monitoring", usage["volumes_gb"] * usd("ebs_gp3") / HOURS_A_MONTH, "ebs_gp3"),
        hourly("logs of the cluster", usage["cluster_log_gb_a_day"] * DAYS_A_MONTH * usd("logs_in") / HOURS_A_MONTH, "logs_in"),
        hourly("cache (Valkey)", cache["nodes"] * usd(cache["type"]), cache["type"]),
        hourly("database of MLflow", usd(database["type"]) + database["gb"] * usd("rds_gp3") / HOURS_A_MONTH,
               database["type"], "rds_gp3"),
        kept("its snapshots", keep["snapshots"] * keep["snapshot_gb"] * usd("rds_snapshot"), "rds_snapshot"),
        kept("S3", sum(storage(name, prices, usage, rule)[1] for name, rule in rules.items()),
             "s3_standard", "s3_glacier_instant", "s3_glacier_instant_read", "s3_glacier_instant_move"),
        kept("images", keep["images_gb"] * usd("ecr"), "ecr"),
        kept("key and secrets", usd("kms_key") + keep["secrets"] * usd("secret"), "kms_key", "secret"),
        kept("traces and audit trail kept", (keep["traces_gb"] + keep["audit_gb"]) * (usd("dynamodb_gb") + usd("dynamodb_backup_gb")),
             "dynamodb_gb", "dynamodb_backup_gb"),
        kept("logs kept and alarms", keep["logs_gb"] * usd("logs_kept") + keep["alarms"] * usd("alarm"), "logs_kept", "alarm"),
        Line("NAT, load balancer and logs by traffic", "traffic",
             hours * (traffic["nat_gb"] * usd("nat_gb") + traffic["lcu"] * usd("alb_lcu") + traffic["log_gb"] * usd("logs_in")),
             0.0, 0.0, ("nat_gb", "alb_lcu", "logs_in")),
        Line("traces written, index read", "traffic",
             questions * (traffic["trace_kb"] * 3 * usd("dynamodb_write") / 1e6 + traffic["reads"] * usd("s3_get") / 1e3),
             0.0, 0.0, ("dynamodb_write", "s3_get")),
        Line("models of Bedrock", "traffic", questions * sum(_question(model, newest) for model in usage["models"].values()), 0.0, 0.0, ()),
    ]  # fmt: skip
    return lines


def storage(name: str, prices: Mapping[str, ListPrice], usage: Mapping[str, Any], rule: LifecycleRule) -> tuple[float, float]:
    """Dollars a month for a bucket without any lifecycle, and with the one it has."""
    bucket, months = usage["storage"]["buckets"][name], usage["storage"]["months"]
    standard, archive = prices["s3_standard"].usd, prices["s3_glacier_instant"].usd
    grown = bucket.get("gb_a_month", 0.0) * months
    versions = bucket["versions_gb_a_month"]
    without = (bucket.get("gb", grown) + versions * months) * standard

    current = min(grown, bucket["gb_a_month"] * rule.expire / DAYS_A_MONTH) if grown and rule.expire else bucket.get("gb", grown)
    old = current * bucket["old"] if rule.archive else 0.0
    kept_months = min(months, (rule.old_expire or 0) / DAYS_A_MONTH)
    fresh_months = min(kept_months, rule.old_archive / DAYS_A_MONTH) if rule.old_archive else kept_months
    moved_gb = old / months + (versions if rule.old_archive else 0.0)
    with_rules = (
        (current - old + versions * fresh_months) * standard
        + (old + versions * (kept_months - fresh_months)) * archive
        + bucket["read_old_gb_a_month"] * prices["s3_glacier_instant_read"].usd
        + moved_gb * bucket["objects_per_gb"] / 1000 * prices["s3_glacier_instant_move"].usd
    )
    return without, with_rules


@dataclass(frozen=True)
class Savings:
    """Shares saved, each of what it is said of."""

    paused_bill: float  # of the bill without traffic, a month paused throughout
    paused_compute: float  # of all that costs by the hour, paused outside working hours
    paused_fixed: float  # of the bill without traffic, paused outside working hours
    hours_for_claim: float  # a week, up to which pausing saves what is claimed of all that costs by the hour
    off_hours: float  # of the nodes, scaled down outside working hours
    off_hours_bill: float  # of the bill without traffic
    lifecycle: float  # of storage in S3
    archive: float  # of storage in S3, if nothing expired


def savings(
    lines: Iterable[Line], prices: Mapping[str, ListPrice], usage: Mapping[str, Any], rules: Mapping[str, LifecycleRule]
) -> Savings:
    """What comes out."""
    fixed = [line for line in lines if line.kind != "traffic"]
    running, off, paused = (sum(getattr(line, state) for line in fixed) for state in ("running", "off_hours", "paused"))
    overhead = usage["resume_hours"] * usage["pauses_a_week"]
    on = min(1.0, (usage["hours_a_week"] + overhead) / HOURS_A_WEEK)
    away = 1 - usage["hours_a_week"] / HOURS_A_WEEK
    nodes = [line for line in fixed if line.kind == "compute"]
    nodes_running, nodes_off = sum(line.running for line in nodes), sum(line.off_hours for line in nodes)
    before, after = (sum(storage(name, prices, usage, rule)[place] for name, rule in rules.items()) for place in (0, 1))
    for_good = {name: replace(rule, expire=None, old_expire=usage["storage"]["months"] * DAYS_A_MONTH) for name, rule in rules.items()}
    moved = sum(storage(name, prices, usage, rule)[1] for name, rule in for_good.items())
    return Savings(
        paused_bill=1 - paused / running,
        paused_compute=1 - on,
        paused_fixed=1 - (on * running + (1 - on) * paused) / running,
        hours_for_claim=max(0.0, (1 - CLAIMS["pause"]) * HOURS_A_WEEK - overhead),
        off_hours=away * (1 - nodes_off / nodes_running),
        off_hours_bill=away * (1 - off / running),
        lifecycle=1 - after / before if before else 0.0,
        archive=1 - moved / before if before else 0.0,
    )


def page(prices: Mapping[str, ListPrice], usage: Mapping[str, Any], rules: Mapping[str, LifecycleRule]) -> str:
    """The table and what is saved, as Markdown."""
    lines = bill(prices, usage, rules)
    saved = savings(lines, prices, usage, rules)
    days = [price.as_of for price in prices.values()]
    unchecked = sum(price.unchecked for price in prices.values())
    rows = [
        f"| {line.name}{_mark(line, prices)} | {line.running:,.2f} | {line.off_hours:,.2f} | {line.paused:,.2f} |"
        for line in lines
        if line.kind != "traffic"
    ]
    fixed = [line for line in lines if line.kind != "traffic"]
    total = [sum(getattr(line, state) for line in fixed) for state in ("running", "off_hours", "paused")]
    traffic = [line for line in lines if line.kind == "traffic"]
    on, nodes, months = usage["hours_a_week"], usage["nodes"], usage["storage"]["months"]
    return "\n".join([
        "# What a month costs",
        "",
        "Made by `make costs` from [prices.yaml](prices.yaml) and [usage.yaml](usage.yaml), whose assumptions are yours to change.",
        f"US dollars, list prices of us-east-1 of {min(days)} to {max(days)}; {unchecked} of {len(prices)} were not held against a source,",
        "and lines that rest on one are marked *. Prices of models are those of the package genai-prices. Nothing was read off a bill.",
        "",
        f"| {HOURS_A_MONTH:.0f} hours throughout | running | off hours | paused |",
        "|---|---:|---:|---:|",
        *rows,
        f"| **sum without traffic** | **{total[0]:,.2f}** | **{total[1]:,.2f}** | **{total[2]:,.2f}** |",
        "",
        f"By traffic, {usage['traffic']['questions']} questions an hour in {usage['hours_a_week']} hours a week:",
        "",
        "| | a month |",
        "|---|---:|",
        *[f"| {line.name}{_mark(line, prices)} | {line.running:,.2f} |" for line in traffic],
        "",
        "## What is saved",
        "",
        "| by | set out with | comes out | of what |",
        "|---|---:|---:|---|",
        f"| pausing | 90 % | {saved.paused_compute:.0%} | all that costs by the hour, when paused outside {on} hours a week |",
        f"| | | {saved.paused_fixed:.0%} | the whole bill without traffic, likewise |",
        f"| | | {saved.paused_bill:.0%} | the whole bill without traffic, in a month paused throughout |",
        f"| off-hours scaling | 45 % | {saved.off_hours:.0%} | nodes, from {nodes['working']} to {nodes['off_hours']} outside them |",
        f"| | | {saved.off_hours_bill:.0%} | the whole bill without traffic |",
        f"| the lifecycle of S3 | 40 % | {saved.lifecycle:.0%} | storage after {months} months, old versions and stages included |",
        f"| | | {saved.archive:.0%} | likewise, by moving to Glacier alone, if nothing expired |",
        "",
        f"Pausing saves 90 % of all that costs by the hour where the service runs {saved.hours_for_claim:.1f} hours a week or less: it is",
        "for a service that is shown or tried, not for one that is asked every working day. Off-hours scaling and pausing do not add",
        "up: a paused cluster has no nodes to scale.",
        "",
    ])  # fmt: skip


def _mark(line: Line, prices: Mapping[str, ListPrice]) -> str:
    return " *" if any(prices[name].unchecked for name in line.prices) else ""


def _question(model: Mapping[str, Any], day: datetime.date) -> float:
    from genai_prices import Usage, calc_price

    moment = datetime.datetime.combine(day, datetime.time(), datetime.UTC)
    used = Usage(input_tokens=model["input_tokens"], output_tokens=model["output_tokens"])
    try:
        price = calc_price(used, model["model"], provider_id="aws", genai_request_timestamp=moment)
    except LookupError:
        raise CostsError(f"usage.yaml: models: the package genai-prices has no {model['model']!r} of Bedrock.") from None
    return float(model["share"]) * float(price.total_price)


def main() -> int:
    """Print the page and write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prices", type=Path, default=HERE / "prices.yaml")
    parser.add_argument("--usage", type=Path, default=HERE / "usage.yaml")
    parser.add_argument("--out", type=Path, default=HERE / "costs.md")
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 where the page is not what comes out")
    chosen = parser.parse_args()
    try:
        rules = read_rules(STORAGE)
        text = page(read_prices(chosen.prices), read_usage(chosen.usage, rules), rules)
    except (CostsError, OSError, yaml.YAMLError, LookupError) as error:
        print(f"prices.yaml: {error} is missing" if isinstance(error, KeyError) else " ".join(str(error).split()), file=sys.stderr)
        return 2
    if chosen.check:
        same = chosen.out.is_file() and chosen.out.read_text(encoding="utf-8") == text
        print(f"{chosen.out.name} is what comes out" if same else f"{chosen.out.name} is not what comes out. Run: make costs")
        return 0 if same else 1
    chosen.out.write_text(text, encoding="utf-8")
    print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
