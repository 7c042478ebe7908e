"""How a check ends other than well: it failed, or it cannot run on this machine."""


class CheckFailed(Exception):
    """What is wrong, as the reader of the check should see it."""


class CheckSkipped(Exception):
    """What is missing on this machine, in one line."""
