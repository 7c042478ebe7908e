"""Where runs are logged: MLflow, or nowhere for `--no-tracking`; tests have memory."""

from harness.settings import HarnessSettings
from harness.tracking.base import Tracker


def tracker(settings: HarnessSettings, *, enabled: bool = True) -> Tracker:
    """The MLflow tracker of the settings, or one that logs nothing."""
    if enabled:
        from harness.tracking.mlflow import MlflowTracker

        return MlflowTracker(settings)
    from harness.tracking.null import NullTracker

    return NullTracker()
