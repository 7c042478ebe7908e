"""The room that checks what comes in and what goes out: its table."""

from serving.pipeline.guard.base import Guard
from serving.pipeline.registry import Registry

GUARDS = Registry[Guard]("guard", {"none": "serving.pipeline.guard.none:NoGuard"}, group="checks", protocol=Guard)
