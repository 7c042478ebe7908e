"""A worker: plain text in, plain text out; it keeps nothing that another could not do without."""

import asyncio

from harness.index_build.load import load_part
from harness.index_build.orders import LoadOrder, failure_reply, read_order, worker_settings
from harness.index_build.rows import make_rows
from serving.pipeline.errors import TouchstoneError
from serving.pipeline.packages import add_current_folder


def carry_out(text: str) -> str:
    """Carry out an order; the reply is empty, or a failure that Touchstone foresees."""
    try:
        add_current_folder()
        order = read_order(text)
        settings = worker_settings(order)
        if isinstance(order, LoadOrder):
            load_part(order, settings)
        else:
            asyncio.run(make_rows(order, settings))
    except TouchstoneError as error:
        return failure_reply(error)
    return ""
