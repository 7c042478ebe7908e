"""Jobs run in the hours that a pause leaves, and not while their channel sleeps; both are read from the files that set them."""

import shutil
from pathlib import Path

import pytest

from infra.checks import hours
from infra.checks import kubernetes as checks

ROOT = Path(__file__).parents[2]
JOBS, SLEEP = "infra/kubernetes/base/jobs", "infra/kubernetes/components/off-hours"
needs_kubectl = pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A copy of the manifests and of the workflow, to break."""
    shutil.copytree(ROOT / "infra/kubernetes", tmp_path / "infra/kubernetes")
    (tmp_path / hours.WORKFLOW).parent.mkdir(parents=True)
    shutil.copy(ROOT / hours.WORKFLOW, tmp_path / hours.WORKFLOW)
    return tmp_path


def test_a_schedule_is_read_as_days_and_minutes() -> None:
    assert hours.times("30 6 * * 3") == {(3, 390)}
    assert hours.times("0 5 * * 1-5") == {(day, 300) for day in (1, 2, 3, 4, 5)}
    assert hours.times("5 0 * * 6-7") == {(6, 5), (0, 5)}
    assert len(hours.times("*/15 6-19 * * 1-5")) == 5 * 14 * 4
    assert len(hours.times("*/15 * * * *")) == 7 * 24 * 4
    for schedule in ("@daily", "0 5 1 * *", "0,30 5 * * *"):
        with pytest.raises(hours.HoursError):
            hours.times(schedule)


def test_the_hours_that_pauses_leave_are_those_of_the_workflow() -> None:
    assert hours.left_by_pauses(ROOT) == hours.Hours(frozenset({1, 2, 3, 4, 5}), 5 * 60, 19 * 60)


@needs_kubectl
@pytest.mark.slow
@pytest.mark.parametrize("overlay", checks.OVERLAYS)
def test_every_job_has_its_time(overlay: str, root: Path) -> None:
    assert checks.check_hours(overlay) == []
    assert checks.check_hours(overlay, root) == []


BROKEN = [
    ("overlays/prod", f"{JOBS}/evaluate.yaml", '"30 6 * * *"', '"30 2 * * *"', "CronJob evaluate: '30 2 * * *' is not run to its end"),
    ("overlays/prod", f"{JOBS}/evaluate.yaml", '"30 6 * * *"', '"30 5 * * *"', "leave 60 minutes to come back"),
    ("overlays/prod", f"{JOBS}/evaluate.yaml", '"30 6 * * *"', '"30 16 * * *"', "and 240 to run"),
    ("overlays/staging", f"{JOBS}/store-gc.yaml", '"0 7 * * 3"', '"0 7 * * 0"', "CronJob store-gc: '0 7 * * 0' is not run to its end"),
    ("overlays/staging", f"{JOBS}/store-gc.yaml", "timeZone: Etc/UTC", "timeZone: Asia/Tokyo", "pauses know Etc/UTC alone"),
    ("overlays/dev", f"{SLEEP}/kustomization.yaml", "*/15 6-19 * * 1-5", "*/15 * * * *", "'*/15 * * * *' runs while its channel"),
    ("overlays/dev", f"{SLEEP}/kustomization.yaml", "30 6 * * 1-5", "30 6 * * *", "'30 6 * * *' runs while its channel"),
    ("overlays/dev", f"{SLEEP}/scaledobject.yaml", "start: 0 6", "start: 0 7", "awake from 07:00 to 20:00 on the days 1, 2"),
    ("overlays/prod", str(hours.WORKFLOW), '- cron: "0 5 * * 1-5"', '- cron: "0 8 * * 1-5"', "the cluster is there from 08:00 to 19:00"),
    ("overlays/prod", str(hours.WORKFLOW), '- cron: "0 19 * * 1-5"', '- cron: "0 21 * * 1-5"', "it is not plain which one pauses"),
]  # fmt: skip


@needs_kubectl
@pytest.mark.slow
@pytest.mark.parametrize(("overlay", "file", "before", "after", "says"), BROKEN)
def test_a_job_without_its_time_is_found(root: Path, overlay: str, file: str, before: str, after: str, says: str) -> None:
    text = (root / file).read_text()
    assert before in text
    (root / file).write_text(text.replace(before, after, 1))
    found = checks.check_hours(overlay, root)
    assert any(says in one for one in found), found
