"""What is decided where the operator is installed: flags of `lateen operator`, or LATEEN_OPERATOR_* variables."""

from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, TypeVar

import click
from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

ENVIRONMENT_PREFIX = "LATEEN_OPERATOR_"

PLATFORM_OF_KIND: Mapping[str, str] = {"cpu": "cpu", "gpu": "cuda", "tpu": "tpu"}
"""jax's name of the platform for each kind of accelerator, as it stands in the names of trainer images."""

Command = TypeVar("Command", bound=Callable[..., Any])


class OperatorSettings(BaseModel):
    """The operator's settings. Each is a flag (`--trainer-image`) and a variable (LATEEN_OPERATOR_TRAINER_IMAGE)."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    trainer_image: str = Field(default_factory=lambda: f"lateen-trainer:{version('lateen')}-{{platform}}")
    """Image of jobs that name none. `{platform}` in it becomes cpu, cuda or tpu."""

    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    """When images are pulled, for jobs that do not say."""

    namespaces: tuple[str, ...] = ()
    """Namespaces to work in. Default: all."""

    operator_namespace: str = "lateen-system"
    """Namespace that the operator runs in."""

    operator_labels: Mapping[str, str] = Field(default={"app.kubernetes.io/name": "lateen-operator"})
    """Labels of the operator's own pods."""

    monitoring_namespaces: tuple[str, ...] = ("monitoring",)
    """Namespaces whose pods may read the trainers' metrics."""

    network_policies: bool = True
    """Let only a job's own pods, and those who read metrics, reach its pods."""

    fixed_user: bool = True
    """Run trainers as user and group 1000. Without, the cluster assigns their ids, as OpenShift does."""

    metrics_port: int = 8080
    """Port of a trainer's /metrics, /healthz and /progress."""

    progress_via: Literal["pod", "proxy"] = "pod"
    """How /progress is read: from the pod's address, or through the API server from outside the cluster."""

    poll_seconds: float = 2.0
    """Seconds between two progress polls of a job."""

    workers: int = 64
    """Jobs that are worked on at once."""

    server_port: int = 8080
    """Port of the operator's own /metrics and /healthz. 0: any free one."""

    kubeconfig: Path | None = None
    """Kubeconfig file, outside a cluster. Default: as for kubectl."""

    context: str | None = None
    """Context of the kubeconfig. Default: its current one."""

    def image_for(self, kind: str) -> str:
        """The trainer image for a kind of accelerator: cpu, gpu or tpu."""
        return self.trainer_image.replace("{platform}", PLATFORM_OF_KIND[kind])


def settings_options(command: Command) -> Command:
    """Gives a click command one option for each setting; it gets them as keyword arguments, which
    `OperatorSettings(**arguments)` takes. A flag counts more than the variable."""
    for name, setting in reversed(OperatorSettings.model_fields.items()):
        command = _option(name, setting)(command)
    return command


class _Labels(click.ParamType):
    name = "NAME=VALUE,…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, str]:
        if isinstance(value, Mapping):
            return dict(value)
        pairs = [pair.partition("=") for pair in str(value).split(",") if pair]
        if any(not equals or not name for name, equals, _ in pairs):
            self.fail(f"{value!r} are no labels: expected NAME=VALUE, several with commas between.", param, ctx)
        return {name.strip(): text.strip() for name, _, text in pairs}


class _Names(click.ParamType):
    name = "NAME,…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        names = value.split(",") if isinstance(value, str) else value
        return tuple(name.strip() for name in names if name.strip())


_TYPES: Mapping[str, click.ParamType] = {
    "image_pull_policy": click.Choice(["Always", "IfNotPresent", "Never"]),
    "namespaces": _Names(),
    "operator_labels": _Labels(),
    "monitoring_namespaces": _Names(),
    "metrics_port": click.IntRange(1024, 65535),
    "progress_via": click.Choice(["pod", "proxy"]),
    "poll_seconds": click.FloatRange(0.1),
    "workers": click.IntRange(1, 256),
    "server_port": click.IntRange(0, 65535),
    "kubeconfig": click.Path(path_type=Path),
}
"""How flags are read; those that are not here are texts."""


def _option(name: str, setting: FieldInfo) -> Callable[[Command], Command]:
    flag = name.replace("_", "-")
    is_switch = setting.annotation is bool
    default = setting.get_default(call_default_factory=True, validated_data={})
    shown = ",".join(f"{key}={value}" for key, value in default.items()) if isinstance(default, dict) else True
    return click.option(
        f"--{flag}/--no-{flag}" if is_switch else f"--{flag}",
        name,
        type=None if is_switch else _TYPES.get(name, click.STRING),
        default=default,
        envvar=ENVIRONMENT_PREFIX + name.upper(),
        show_default=shown if default not in (None, ()) else False,
        show_envvar=True,
        help=setting.description,
    )
