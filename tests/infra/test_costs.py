"""The bill of a month, against sums worked out by hand."""

import copy
import datetime
import json
import re
from pathlib import Path

import pytest
import yaml

from tests.infra.scripts import ROOT, script

costs = script("costs/costs.py")
PRICES = costs.read_prices(ROOT / "infra/costs/prices.yaml")
USAGE = yaml.safe_load((ROOT / "infra/costs/usage.yaml").read_text())
RULES = costs.read_rules(ROOT / "infra/terraform/persistent/storage.tf")


def line(name: str, usage: dict = USAGE) -> object:
    [found] = [one for one in costs.bill(PRICES, usage, RULES) if one.name == name]
    return found


def prices_with(tmp_path: Path, entry: str) -> Path:
    path = tmp_path / "prices.yaml"
    path.write_text(f"prices:\n  thing: {entry}\n")
    return path


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("{usd: 1, per: hour, unchecked: true}", "no day"),
        ("{usd: 1, per: hour, as_of: lately, unchecked: true}", "no day"),
        ("{usd: 1, per: hour, as_of: 2026-01-01}", "seen"),
        ("{usd: 0, per: hour, as_of: 2026-01-01, unchecked: true}", "above 0"),
        ("{usd: true, per: hour, as_of: 2026-01-01, unchecked: true}", "above 0"),
        ("{usd: 1, as_of: 2026-01-01, unchecked: true}", "usd, per, as_of and seen"),
        ("3", "thing is 3"),
    ],
)
def test_a_price_without_a_day_or_a_source_is_refused(tmp_path: Path, entry: str, says: str) -> None:
    with pytest.raises(costs.CostsError, match=says):
        costs.read_prices(prices_with(tmp_path, entry))


def test_nodes_cost_by_the_hour_with_auto_modes_share_and_their_disks() -> None:
    node = 0.096 * 1.12 * 730 + 80 * 0.08
    nodes = line("nodes")
    assert (nodes.running, nodes.off_hours, nodes.paused) == (pytest.approx(3 * node), pytest.approx(2 * node), 0.0)


def test_secrets_are_paid_as_many_as_terraform_makes() -> None:
    names = yaml.safe_load((ROOT / "infra/names.yaml").read_text())
    assert USAGE["kept"]["secrets"] == len(names["secrets"])


def test_images_are_paid_as_many_as_the_lifecycle_keeps() -> None:
    rules = (ROOT / "infra/terraform/persistent/storage.tf").read_text()
    [kept] = re.findall(r'tagPatternList = \["made-\*"\], .*countNumber = (\d+)', rules)
    packed = json.loads((ROOT / "reports/bench/image.json").read_text())
    gb = sum(one["packed_mb"] for one in packed["images"].values()) / 1000
    assert USAGE["kept"]["images_gb"] == pytest.approx(int(kept) * gb, rel=0.01)


def test_what_is_paid_by_the_hour_is_not_paid_while_paused_and_what_is_kept_is() -> None:
    lines = costs.bill(PRICES, USAGE, RULES)
    assert {one.name for one in lines if one.paused == 0} >= {"nodes", "EKS control plane", "NAT gateway and its address", "cache (Valkey)"}
    assert all(one.paused == one.running for one in lines if one.kind == "kept")


def test_pausing_saves_the_share_of_the_week_less_what_coming_back_takes() -> None:
    saved = costs.savings(costs.bill(PRICES, USAGE, RULES), PRICES, USAGE, RULES)
    assert saved.paused_compute == pytest.approx(1 - (60 + 5 * 0.5) / 168)
    assert saved.hours_for_claim == pytest.approx(16.8 - 2.5)
    assert saved.off_hours == pytest.approx((1 - 60 / 168) * (1 / 3))


def test_at_the_hours_named_for_it_the_claim_of_pausing_holds() -> None:
    usage = copy.deepcopy(USAGE)
    before = costs.savings(costs.bill(PRICES, USAGE, RULES), PRICES, USAGE, RULES)
    usage["hours_a_week"] = before.hours_for_claim
    assert costs.savings(costs.bill(PRICES, usage, RULES), PRICES, usage, RULES).paused_compute == pytest.approx(0.9)


def test_the_lifecycle_by_hand() -> None:
    """100 GB of which half is old and 12 GB of versions a month, one year: 50 + 12 fresh in Standard, 50 + 132 in Glacier."""
    bucket = {"gb": 100, "old": 0.5, "versions_gb_a_month": 12, "objects_per_gb": 0, "read_old_gb_a_month": 0}
    usage = {"storage": {"months": 12, "buckets": {"documents": bucket}}}
    rule = costs.LifecycleRule(archive=90, expire=None, old_archive=costs.DAYS_A_MONTH, old_expire=12 * costs.DAYS_A_MONTH)
    without, with_rules = costs.storage("documents", PRICES, usage, rule)
    assert without == pytest.approx((100 + 144) * 0.023)
    assert with_rules == pytest.approx((50 + 12) * 0.023 + (50 + 132) * 0.004)


def test_rules_are_those_of_terraform() -> None:
    assert set(RULES) == set(USAGE["storage"]["buckets"])
    assert RULES["documents"].archive == 90
    assert RULES["stages"].expire == 60  # the default of the variable stage_days


def usage_with(tmp_path: Path, before: str, after: str) -> Path:
    text = (ROOT / "infra/costs/usage.yaml").read_text()
    assert before in text
    path = tmp_path / "usage.yaml"
    path.write_text(text.replace(before, after, 1))
    return path


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("hours_a_week: 60", "hours_a_week: 200", "hours_a_week is 200; a number from 0 to 168"),
        ("hours_a_week: 60", "hours_a_week: sixty", "hours_a_week is 'sixty'; a number"),
        ("hours_a_week: 60", "hours_a_week: -1", "hours_a_week is -1"),
        ("hours_a_week: 60", "hours_a_week: .nan", "hours_a_week is nan"),
        ("hours_a_week: 60", "hours_a_weak: 60", "hours_a_weak is no assumption. Known: hours_a_week"),
        ("load_balancers: 3", "", "load_balancers is missing"),
        ("  working: 3", "  working: 0", "one node or more"),
        ("  off_hours: 2", "  off_hours: 4", "no more nodes off hours"),
        ("share: 0.6", "share: 60", "cheap.share is 60; a number from 0 to 1"),
        ("old: 0.7", "old: 70", "documents.old is 70; a number from 0 to 1"),
        ("    documents:", "    papers:", "storage.buckets has to be documents"),
        ("{gb: 300, ", "{", "documents needs gb or gb_a_month"),
        ("traffic: # of a working hour", "traffic: 3\nother:", "other.lcu is no assumption"),
    ],
)
def test_an_assumption_that_cannot_be_is_one_line(tmp_path: Path, before: str, after: str, says: str) -> None:
    with pytest.raises(costs.CostsError, match=says):
        costs.read_usage(usage_with(tmp_path, before, after), RULES)


def test_a_changed_assumption_changes_what_it_is_about(tmp_path: Path) -> None:
    usage = costs.read_usage(usage_with(tmp_path, "load_balancers: 3", "load_balancers: 1"), RULES)
    name = "load balancers, within the network"
    assert line(name).running == pytest.approx(3 * 0.0225 * 730)
    assert line(name, usage).running == pytest.approx(0.0225 * 730)


def test_snapshots_are_paid_for_in_every_state_since_none_is_removed() -> None:
    snapshots = line("its snapshots")
    assert snapshots.running == snapshots.paused == pytest.approx(22 * 5 * 0.095)


def test_a_load_balancer_is_reckoned_for_every_channel() -> None:
    assert USAGE["load_balancers"] == len(list((ROOT / "infra/kubernetes/overlays").iterdir()))


def test_an_instance_without_a_price_is_named() -> None:
    usage = copy.deepcopy(USAGE)
    usage["nodes"]["type"] = "m9.large"
    with pytest.raises(costs.CostsError, match="m9.large"):
        costs.bill(PRICES, usage, RULES)


def test_the_page_is_what_comes_out_and_says_what_is_unchecked() -> None:
    text = costs.page(PRICES, USAGE, RULES)
    assert text == (ROOT / "infra/costs/costs.md").read_text()
    assert f"{sum(price.unchecked for price in PRICES.values())} of {len(PRICES)} were not held against a source" in text
    assert all(isinstance(price.as_of, datetime.date) for price in PRICES.values())
