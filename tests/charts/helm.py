"""The real Helm on this repository's chart, without a cluster."""

import functools
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster.commands import output_of
from cluster.failure import ClusterError
from cluster.helm import CHART
from cluster.parts import part_of, program

ALL_SCRAPING = {
    "serviceMonitor": {"enabled": True},
    "podMonitor": {"enabled": True},
    "gke": {"enabled": True},
    "annotations": {"enabled": True},
}

MAY_BUILD_HELM = pytest.mark.timeout(1800)
"""For modules whose first test may have to build Helm: minutes where other builds keep the cores busy."""

Object = dict[str, Any]

__all__ = [
    "ALL_SCRAPING",
    "CHART",
    "MAY_BUILD_HELM",
    "Object",
    "Refused",
    "one",
    "operator_container",
    "rendered",
    "template",
]


class Refused(Exception):
    """Helm did not render the chart; the message is what it printed."""


def helm_program() -> Path:
    """Helm, built once. Skips where it neither was built nor can be."""
    if not (part_of("helm").built / "helm").exists() and shutil.which("go") is None:
        pytest.skip("Helm is built from its Go module, and Go is not installed")
    return program("helm")


def template(
    *options: str, values: Any = None, release: str = "lateen", namespace: str = "lateen-system", chart: Path = CHART
) -> list[Object]:
    """The objects of `helm template`.

    Args:
        options: further flags.
        values: as in a file of values: a mapping, or the text of one.

    Raises:
        Refused: the chart or its schema says no.
    """
    text = rendered(*options, values=values, release=release, namespace=namespace, chart=chart)
    return [of for of in yaml.safe_load_all(text) if of]


def rendered(
    *options: str, values: Any = None, release: str = "lateen", namespace: str = "lateen-system", chart: Path = CHART
) -> str:
    """What `helm template` prints."""
    return _rendered(
        options, values if isinstance(values, str) else yaml.safe_dump(values or {}), release, namespace, chart
    )


@functools.cache
def _rendered(options: tuple[str, ...], text: str, release: str, namespace: str, chart: Path) -> str:
    command = ("template", release, chart, f"--namespace={namespace}", "--values=-", *options)
    try:
        return output_of(helm_program(), *command, input=text, timeout=60)
    except ClusterError as error:
        raise Refused(str(error)) from error


def one(objects: list[Object], kind: str, name: str | None = None) -> Object:
    """The only object of this kind (and name)."""
    [found] = [of for of in objects if of["kind"] == kind and name in (None, of["metadata"]["name"])]
    return found


def operator_container(objects: list[Object]) -> Object:
    [container] = one(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    return container
