"""Prometheus and promtool of Debian, and a server of them that scrapes what a test names."""

import contextlib
import json
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

_UNPACKED = Path.home() / ".cache" / "lateen" / "prometheus"


def program(name: str) -> str:
    """Path of `prometheus` or `promtool`: that of this machine, else one unpacked from Debian's package.

    The package is not installed, which would start a service. The test is skipped where there is neither.
    """
    found = shutil.which(name)
    if found is not None:
        return found
    unpacked = _UNPACKED / "usr" / "bin" / name
    if not unpacked.exists():
        _unpack()
    return str(unpacked)


def _unpack() -> None:
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        pytest.skip("Prometheus is not installed, and there is no apt-get to get it with")
    _UNPACKED.mkdir(parents=True, exist_ok=True)
    download = ["apt-get", "download", "prometheus"]
    done = subprocess.run(download, cwd=_UNPACKED, check=False, capture_output=True)
    if done.returncode != 0:
        # A new machine has no lists of packages yet.
        subprocess.run(["apt-get", "update", "-qq"], check=False, capture_output=True)
        done = subprocess.run(download, cwd=_UNPACKED, check=False, capture_output=True)
    if done.returncode != 0:
        pytest.skip(f"Prometheus is not installed, and apt-get download failed: {done.stderr.decode().strip()}")
    [package] = _UNPACKED.glob("prometheus_*.deb")
    subprocess.run(["dpkg-deb", "-x", package, _UNPACKED], check=True)
    package.unlink()


@dataclass
class Prometheus:
    """A server that runs."""

    url: str

    def query(self, expr: str) -> list[dict[str, Any]]:
        """The series of an instant query now. AssertionError where Prometheus refuses it."""
        return self._get("query", query=expr)["result"]

    def query_range(self, expr: str, start: float, end: float, step: float) -> list[dict[str, Any]]:
        """The series of a range query; times in seconds since the epoch."""
        return self._get("query_range", query=expr, start=start, end=end, step=step)["result"]

    def label_names(self) -> list[str]:
        """Of all series."""
        return self._get("labels")

    def rules(self) -> list[dict[str, Any]]:
        """Alert rules with their health, state and alerts."""
        return [rule for group in self._get("rules")["groups"] for rule in group["rules"]]

    def targets_up(self) -> int:
        """Targets that were scraped well."""
        return len(self.query("up == 1"))

    def _get(self, what: str, **parameters: object) -> Any:
        url = f"{self.url}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {json.load(error)['error']}") from error


def static(name: str, *addresses: str) -> dict[str, Any]:
    """The scrape configuration of a job of these targets (host:port), with no labels but Prometheus' own."""
    return {"job_name": name, "static_configs": [{"targets": list(addresses)}]}


@contextlib.contextmanager
def prometheus(
    folder: Path, port: int, scrape_configs: Sequence[dict[str, Any]], *, rules: Path, interval: str = "200ms"
) -> Iterator[Prometheus]:
    """A Prometheus that scrapes.

    Args:
        folder: for its data; made if it is not there.
        port: to listen on.
        scrape_configs: as in its configuration.
        rules: file of alert rules.
        interval: between two scrapes, and two evaluations.
    """
    configuration = {
        "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
        "rule_files": [str(rules)],
        "scrape_configs": list(scrape_configs),
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            [
                program("prometheus"), f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{port}",
                "--log.level=warn",
            ],
            stdout=log, stderr=log,
        )  # fmt: skip
        try:
            yield _when_ready(Prometheus(f"http://127.0.0.1:{port}"), server, folder / "log")
        finally:
            server.terminate()
            server.wait(timeout=30)


def _when_ready(server: Prometheus, process: subprocess.Popen[bytes], log: Path, seconds: float = 60) -> Prometheus:
    deadline = time.monotonic() + seconds
    while True:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, f"Prometheus was not ready within {seconds} s: {log.read_text()}"
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{server.url}/-/ready", timeout=5):
            return server
        time.sleep(0.1)
