"""A cluster of Ray as KubeRay starts one, in one process tree, and a job as it submits one: GCS DASHBOARD AGENT ENTRYPOINT.

The environment holds the token, as the operator puts it into every pod.

Ends with 0 when the cluster is healthy, lets nobody in without its token, and the job has succeeded; prints what the job said.
"""

import subprocess
import sys
import time
from urllib.error import HTTPError
from urllib.request import urlopen

from ray.job_submission import JobStatus, JobSubmissionClient


def main(gcs: str, dashboard: str, agent: str, entrypoint: str) -> int:
    """Start, look, submit, wait, stop."""
    ports = [f"--port={gcs}", f"--dashboard-port={dashboard}", f"--dashboard-agent-listen-port={agent}"]
    subprocess.run(["ray", "start", "--head", "--num-cpus=2", "--dashboard-host=127.0.0.1", *ports], check=True, stdout=sys.stderr)
    with urlopen(f"http://127.0.0.1:{agent}/api/healthz", timeout=10) as answer:  # what the probes ask, without a token
        print(f"healthy: {answer.read().decode()}")
    try:
        urlopen(f"http://127.0.0.1:{dashboard}/api/jobs/", timeout=10)
    except HTTPError as error:
        print(f"without a token: {error.code}")
    client = JobSubmissionClient(f"http://127.0.0.1:{dashboard}")
    job = client.submit_job(entrypoint=entrypoint)
    while not (status := client.get_job_status(job)).is_terminal():
        time.sleep(0.5)
    print(client.get_job_logs(job))
    print(f"job: {status}")
    subprocess.run(["ray", "stop", "--force"], check=False, stdout=sys.stderr)
    return 0 if status == JobStatus.SUCCEEDED else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
