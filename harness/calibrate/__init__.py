"""Calibration: thresholds chosen from labelled examples with a stated error; the table of sources."""

from harness.calibrate.source import DecisionSource
from serving.pipeline.registry import Registry

SOURCES = Registry[DecisionSource](
    "stage to calibrate",
    {
        "cache": "harness.calibrate.cache:CacheSource",
        "router": "harness.calibrate.route.source:RouterSource",
        "domains": "harness.calibrate.route.domains:DomainSource",
        "guard": "harness.calibrate.guard:GuardSource",
    },
)
