"""Nothing of a cluster stays on the machine. (Runs before the other tests of this folder, while no cluster is up.)"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cluster import cgroups
from cluster.cleanup import remove_everything
from cluster.find import running_cluster
from cluster.node import MOUNT_POINTS
from cluster.places import BRIDGE, CGROUP, NAMESPACES, STATE
from cluster.pods import pod
from cluster.requirements import unsuitable
from cluster.service import Service
from cluster.this_machine import OnThisMachine
from cluster.waiting import wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.slow]
TESTS = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def no_cluster() -> None:
    """These tests start and remove clusters of their own."""
    if reason := unsuitable():
        pytest.skip(reason)
    if running_cluster():
        pytest.skip("a cluster is running, which this test would have to remove: make cluster-down first")
    remove_everything()


def traces() -> dict[str, set[str]]:
    """What a cluster could leave on this machine."""
    return {
        "links": {link.name for link in Path("/sys/class/net").iterdir()},
        "network namespaces": {file.name for file in NAMESPACES.glob("*")},
        "mounts": set(Path("/proc/self/mounts").read_text().splitlines()),
        "routes": set(subprocess.check_output(["ip", "route"], text=True).splitlines()),
        "cgroups": {str(folder) for folder in cgroups.folders(CGROUP) if folder.exists()},
        "processes": {str(pid) for pid in cgroups.processes(CGROUP)},
        "folders": {str(folder) for folder in (STATE, *map(Path, MOUNT_POINTS)) if folder.exists()},
    }


def test_down_leaves_nothing_of_a_cluster_at_work():
    """A pod is running and one node is dead when the cluster is removed."""
    before = traces()
    cluster = OnThisMachine.start(nodes=2)
    cluster.kubectl("create", "namespace", "busy")
    made = pod("busy", "busy", "sleep 1000", cluster.shared_folder("busy"), nodeName="node-1")
    cluster.kubectl.apply(made)
    cluster.kubectl("wait", "pod/busy", "-n", "busy", "--for=condition=Ready", "--timeout=60s")
    cluster.kill_node("node-2")
    cluster.stop()
    assert traces() == before


def test_a_start_that_was_killed_half_way_is_cleared():
    """SIGKILL once the first node's kubelet runs: the next start or `down` finds a cluster that nobody finished."""
    before = traces()
    starting = subprocess.Popen([sys.executable, "-m", "cluster", "up"], cwd=TESTS, start_new_session=True)
    wait_until(lambda: Service("kubelet", "node-1").alive, "the first kubelet", seconds=120)
    os.kill(starting.pid, signal.SIGKILL)
    starting.wait()
    assert running_cluster() is None
    assert Path(f"/sys/class/net/{BRIDGE}").exists()
    remove_everything()
    assert traces() == before
