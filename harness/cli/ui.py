"""`touchstone ui`: MLflow's pages over the runs logged here."""

import os
import sys
from typing import Annotated

import typer

from harness.settings import read_settings


def ui(
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Port to listen on.")] = 5000,
) -> None:
    """Open MLflow's UI on the runs logged here."""
    from harness.tracking.mlflow import check_address, quiet_environment
    from serving.ports import refuse_taken_port

    settings = read_settings()
    check_address(settings.tracking_uri)
    if settings.tracking_uri.startswith("http"):
        typer.echo(f"MLflow runs already: {settings.shown_tracking_uri}")
        return
    refuse_taken_port(host, port)
    quiet_environment(settings)
    artifacts = (settings.home / "mlflow" / "artifacts").absolute().as_uri()
    arguments = ["-m", "mlflow", "server", "--backend-store-uri", settings.tracking_uri, "--default-artifact-root", artifacts]
    typer.echo(f"http://{host}:{port}", err=True)
    os.execv(sys.executable, [sys.executable, *arguments, "--host", host, "--port", str(port), "--workers", "1"])  # noqa: S606 — this Python, with arguments of our own
