"""Settings by flags and by the environment."""

import click
import pytest
from click.testing import CliRunner
from lateen_operator.settings import OperatorSettings, settings_options


def read(*flags: str, **environ: str) -> OperatorSettings:
    found: list[OperatorSettings] = []

    @click.command()
    @settings_options
    def command(**arguments: object) -> None:
        found.append(OperatorSettings.model_validate(arguments))

    variables = {f"LATEEN_OPERATOR_{name}": text for name, text in environ.items()}
    result = CliRunner().invoke(command, flags, env=variables, catch_exceptions=False)
    if result.exit_code:
        raise click.UsageError(result.output.splitlines()[-1])
    return found[0]


def test_nothing_said_gives_the_defaults():
    assert read() == OperatorSettings()


def test_flags():
    settings = read("--workers", "3", "--namespaces", "a,b", "--no-network-policies", "--operator-labels", "a=b,c=d")
    assert settings == OperatorSettings(
        workers=3, namespaces=("a", "b"), network_policies=False, operator_labels={"a": "b", "c": "d"}
    )


def test_variables():
    settings = read(POLL_SECONDS="0.5", MONITORING_NAMESPACES="a", NETWORK_POLICIES="false", PROGRESS_VIA="proxy")
    assert settings == OperatorSettings(
        poll_seconds=0.5, monitoring_namespaces=("a",), network_policies=False, progress_via="proxy"
    )


def test_a_flag_counts_more_than_the_variable():
    assert read("--workers", "3", WORKERS="4").workers == 3


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("WORKERS", "0", "0 is not in the range 1<=x<=256."),
        ("OPERATOR_LABELS", "a", "'a' are no labels: expected NAME=VALUE, several with commas between."),
        ("PROGRESS_VIA", "mail", "'mail' is not one of 'pod', 'proxy'."),
    ],
)
def test_value_without_meaning_is_refused_by_name(name: str, text: str, message: str):
    with pytest.raises(click.UsageError) as caught:
        read(**{name: text})
    assert f"--{name.lower().replace('_', '-')}" in caught.value.message
    assert caught.value.message.endswith(message)


@pytest.mark.parametrize(("kind", "platform"), [("cpu", "cpu"), ("gpu", "cuda"), ("tpu", "tpu")])
def test_default_image_suits_the_accelerator(kind: str, platform: str):
    assert OperatorSettings(trainer_image="trainer:2-{platform}").image_for(kind) == f"trainer:2-{platform}"


def test_image_without_placeholder_is_for_all_accelerators():
    assert OperatorSettings(trainer_image="trainer:2").image_for("gpu") == "trainer:2"
