"""`python -m serving.app`: the API in this process."""

import argparse
import signal
import sys
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from types import FrameType
from typing import Any

from pydantic import ValidationError

from serving.app.main import create_app
from serving.app.server.run import serve
from serving.app.settings import AppSettings
from serving.pipeline.errors import ConfigError, TouchstoneError
from serving.pipeline.redact import without_password
from serving.pipeline.registry import explain
from serving.ports import refuse_taken_port
from serving.release.channel import CHANNELS


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until stopped; SIGTERM lets running questions end first."""
    options = _parser().parse_args(arguments)
    try:
        refuse_taken_port(options.host, options.port)
        settings = AppSettings(**({"channel": options.channel} if options.channel else {}))
        _refuse_keyless_host(options.host, settings)
        app = create_app(settings)
    except ValidationError as error:
        return _fail(explain(error, "settings (TOUCHSTONE_* variables)", list(AppSettings.model_fields)), 2)
    except TouchstoneError as error:
        return _fail(str(error), error.exit_code)
    signal.signal(signal.SIGTERM, _exit)  # uvicorn raises the signal again when it is done: leave with 0 then
    serve(app, settings, options.host, options.port)
    return 0


def _installed_only() -> None:
    """Take the current folder, which `python -m` puts first, off the import path, unless it is where this package is run from.

    A release names classes: those that are installed are found, and none that lies in the folder that a server was started in.
    """
    here = Path.cwd()
    if not sys.flags.safe_path and here != Path(__file__).parents[2] and Path(sys.path[0]).absolute() == here:
        del sys.path[0]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m serving.app", description="Serve a channel's release over HTTP.")
    parser.add_argument("--channel", choices=CHANNELS, help="the channel to serve; default: TOUCHSTONE_CHANNEL, or dev")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=_port, default=8080, help="port to listen on (default: %(default)s)")
    return parser


def _refuse_keyless_host(host: str, settings: AppSettings) -> None:
    """Without keys anybody who reaches the server may do everything, so then it listens on this machine only."""
    try:
        local = ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost"
    if settings.api_keys is None and not settings.oidc_issuer and not local:
        mend = "Make a key (touchstone key create ID) and set TOUCHSTONE_API_KEYS=keys.yaml, or listen on 127.0.0.1."
        raise ConfigError(f"Without keys the server listens on this machine alone, not on {host!r}. {mend}")


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; allowed: 1 to 65535")
    return int(text)


def _exit(number: int, frame: FrameType | None) -> Any:
    sys.exit(0)


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"touchstone: {without_password(message)}\n")
    return code


if __name__ == "__main__":
    _installed_only()
    sys.exit(main())
