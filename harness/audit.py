"""Writes an act of the command line that others see into the audit trail: before it, and its outcome after."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from harness.settings import HarnessSettings
from serving.audit.open import open_audit
from serving.audit.record import Act, Action, AuditEntry, Detail
from serving.audit.trail import AuditTrail
from serving.pipeline.errors import TouchstoneError

_LOG = logging.getLogger(__name__)


@contextmanager
def audited_act(
    settings: HarnessSettings, action: Action, subject: str, details: Mapping[str, Detail] | None = None, *, tenant: str = ""
) -> Iterator[dict[str, Detail]]:
    """The block is the act, done in the name of whoever runs the command; its outcome goes into the dictionary that it is given."""
    trail = AuditTrail(open_audit(settings), "command line", lost=_log_lost_outcome)
    given = {name: value for name, value in (details or {}).items() if value != ""}
    with trail.act(Act(tenant or settings.operator_tenant, settings.promoter, action, subject, given)) as result:
        yield result


def _log_lost_outcome(entry: AuditEntry, error: TouchstoneError) -> None:
    _LOG.warning("%s is done, and stays begun in the audit trail: %s", entry.action, error)
