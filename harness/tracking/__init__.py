"""Where runs are logged: MLflow, or nowhere for `--no-tracking`; tests have memory."""

from harness.settings import HarnessSettings
from harness.tracking.base import Tracker


def tracker(settings: HarnessSettings, *, on: bool = True) -> Tracker:
    """The tracker that the settings name, or one that forgets."""
    if on:
        from harness.tracking.mlflow import MlflowTracker

        return MlflowTracker(settings)
    from harness.tracking.null import NullTracker

    return NullTracker()
