import asyncio
import signal
import subprocess
import sys
import threading

from harness.cli.interrupt import run_async
from tests.support.waiting import WITHIN_S


def test_ctrl_c_that_does_not_wake_the_loop_is_heard_all_the_same() -> None:
    command = [sys.executable, "-m", "tests.cli.test_interrupt"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=WITHIN_S, check=False)
    assert ended.stdout == "stopped\n", ended.stderr


async def _wait_for_ever() -> None:
    threading.Timer(0.2, lambda: signal.pthread_kill(threading.get_ident(), signal.SIGINT)).start()  # the main thread sleeps on
    await asyncio.Event().wait()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        run_async(_wait_for_ever())
    except KeyboardInterrupt:
        sys.stdout.write("stopped\n")
