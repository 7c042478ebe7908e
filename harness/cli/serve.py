"""`touchstone serve`: the query API, in its own process."""

import os
import sys
from typing import Annotated

import typer


def serve(
    channel: Annotated[str, typer.Option("--channel", help="The channel to serve; default TOUCHSTONE_CHANNEL, else dev.")] = "",
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Port to listen on.")] = 8080,
) -> None:
    """Serve a channel's release over HTTP."""
    from serving.ports import refuse_taken_port
    from serving.release.channel import check_channel

    if channel:
        check_channel(channel)
    refuse_taken_port(host, port)
    chosen = ["--channel", channel] if channel else []
    # -P: a release names classes, and a server finds those that are installed, never those of the folder it was started in
    arguments = [sys.executable, "-P", "-m", "serving.app", *chosen, "--host", host, "--port", str(port)]
    os.execv(sys.executable, arguments)  # noqa: S606 — the API replaces this process: what is served never has the harness loaded
