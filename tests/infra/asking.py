"""Asks a server again and again, until its standard input closes; writes a line per answer: when, status, release."""

import json
import sys
import threading
import time
from http.client import HTTPConnection, HTTPException


def ask(host: str, key: str, stop: threading.Event, number: int) -> None:
    """One connection's questions."""
    body = json.dumps({"question": "How many days of paid leave does everyone have?"})
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    connection = HTTPConnection(host, 80, timeout=120)  # longer than the balancer waits for all it asks
    while not stop.is_set():
        said, release = 0, ""
        try:
            connection.request("POST", "/v1/query", body, headers)
            response = connection.getresponse()
            said, content = response.status, response.read()
            release = json.loads(content).get("release", "") if said == 200 else content[:200].decode(errors="replace")
        except (OSError, HTTPException, ValueError) as error:
            release = repr(error)
            connection.close()
        sys.stdout.write(json.dumps({"at": time.monotonic(), "by": number, "status": said, "release": release}) + "\n")
        sys.stdout.flush()
        time.sleep(0.1)


if __name__ == "__main__":
    over = threading.Event()
    askers = [threading.Thread(target=ask, args=(sys.argv[1], sys.argv[2], over, number)) for number in range(4)]
    for asker in askers:
        asker.start()
    sys.stdin.read()
    over.set()
    for asker in askers:
        asker.join()
