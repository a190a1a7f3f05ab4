"""The commands of `python -m cluster`."""

import sys

import click

from cluster.cluster import Cluster
from cluster.failure import ClusterError
from cluster.find import running_cluster
from cluster.kind import InKind
from cluster.parts import build_all, program
from cluster.requirements import unsuitable
from cluster.this_machine import OnThisMachine


def main() -> None:
    """Run a command; a ClusterError becomes its message and exit code 1."""
    try:
        cluster()
    except ClusterError as error:
        sys.exit(f"cluster: {error}")


@click.group()
def cluster() -> None:
    """A real Kubernetes cluster on this machine, for tests."""


@cluster.command()
@click.option("--nodes", default=2, show_default=True, help="How many real nodes.")
@click.option("--kind", is_flag=True, help="By kind, in Docker; its nodes are those of kind.yaml.")
def up(nodes: int, kind: bool) -> None:
    """Start the cluster, with the images that have been built."""
    started = InKind.start() if kind else OnThisMachine.start(nodes)
    click.echo(f"export KUBECONFIG={started.kubeconfig}")
    click.echo(f"# All nodes share {started.shared}: mount folders of it by hostPath.")


@cluster.command()
def down() -> None:
    """Remove the cluster and all it left on this machine."""
    # Also what a start left behind that came to nothing.
    (running_cluster() or OnThisMachine()).stop()


@cluster.command("kill-node")
@click.argument("name")
def kill_node(name: str) -> None:
    """Cut a node's power."""
    _running().kill_node(name)


@cluster.command("start-node")
@click.argument("name")
def start_node(name: str) -> None:
    """Switch a killed node on again and wait until it is Ready."""
    _running().start_node(name)


@cluster.command()
@click.option("--programs", is_flag=True, help="Only the programs, which take longest the first time.")
def build(programs: bool) -> None:
    """Build the programs and the images that the tests need, unless this machine cannot run the cluster anyway."""
    if running_cluster() is None and (reason := unsuitable()):
        click.echo(f"nothing is built: {reason}")
        return
    build_all()
    if programs:
        return
    (running_cluster() or OnThisMachine()).give_images()


@cluster.command("images")
@click.option("--base", help="A Python image to build on, instead of one made from Debian's packages.")
def build_images(base: str | None) -> None:
    """Build the operator's and the trainer's image; a running cluster gets them at once."""
    (running_cluster() or OnThisMachine()).give_images(base)


@cluster.command("program")
@click.argument("name")
def program_path(name: str) -> None:
    """Print where a program of the cluster is (kubectl, helm, fake-gcs-server, …), after building it if need be."""
    click.echo(program(name))


def _running() -> Cluster:
    found = running_cluster()
    if found is None:
        raise ClusterError("no cluster is running: start one with make cluster")
    return found
