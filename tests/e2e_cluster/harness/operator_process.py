"""The operator as a process of its own, which may be killed."""

import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

_READY_SECONDS = 60.0


class OperatorProcess:
    """`lateen operator` for one namespace; the constructor returns when it works.

    Args:
        kubeconfig: how it reaches the API server.
        namespace: that it works in.
        log: file that gets what it writes.
        options: further flags.
        own_session: whether it runs in a session of its own, to which Linux gives a share of the processors as to the
            others (sched(7), autogroups). A pod has a share of its own, too.
    """

    def __init__(self, kubeconfig: Path, namespace: str, log: Path, *options: str, own_session: bool = False):
        self._log = log
        self._out = log.open("ab")
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-P", "-m", "lateen_api.cli", "operator"),
                *(f"--kubeconfig={kubeconfig}", f"--namespaces={namespace}", "--server-port=0"),
                *options,
            ],
            stdout=self._out,
            stderr=subprocess.STDOUT,
            start_new_session=own_session,
        )
        self.port = self._wait_until_ready()
        self._reaper = threading.Lock()

    def kill(self) -> None:
        """SIGKILL: whatever it was at."""
        self.process.kill()
        self.process.wait()

    def end(self) -> float:
        """SIGTERM. Returns the seconds until it was over."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=30)
        return time.monotonic() - started

    def close(self) -> None:
        """Leaves nothing behind."""
        if self.process.poll() is None:
            self.kill()
        self._out.close()

    def metrics(self) -> str:
        """What it serves on /metrics."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as response:
            return response.read().decode()

    def _wait_until_ready(self) -> int:
        start = self._log.stat().st_size if self._log.exists() else 0
        deadline = time.monotonic() + _READY_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            text = self._log.read_bytes()[start:].decode(errors="replace")
            if "; working" in text:
                return int(text.split("served on port ")[1].split()[0])
            time.sleep(0.05)
        raise AssertionError(f"the operator did not get to work:\n{self._log.read_text()[-3000:]}")
