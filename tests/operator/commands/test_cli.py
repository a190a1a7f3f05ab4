"""The commands' options, errors and exit codes."""

import json

import pytest
from click.testing import CliRunner, Result
from lateen_operator.commands import cli
from lateen_operator.commands.page import JobView
from lateen_operator.commands.status import plain, watch_status
from rich.console import Console


def run(command, *arguments: object, **environ: str) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments], env={"KUBECONFIG": "", **environ})


def refusal(reason: str, message: str) -> str:
    return json.dumps({"kind": "Status", "status": "Failure", "reason": reason, "message": message})


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (
            404,
            "404 page not found\n",
            "The cluster knows no LMTrainingJobs: its API server has not got the CustomResourceDefinition. Install it "
            "by `lateen crd | kubectl apply --server-side -f -`, or name another cluster by --context.",
        ),
        (
            403,
            refusal("Forbidden", 'lmtrainingjobs.lateen.dev "nano" is forbidden: User "me" cannot get resource'),
            'You may not read the job nano in the namespace research: lmtrainingjobs.lateen.dev "nano" is forbidden: '
            'User "me" cannot get resource. Ask an administrator of the cluster for the right to.',
        ),
        (
            401,
            refusal("Unauthorized", "Unauthorized"),
            "The API server does not accept your credentials. Log in to the cluster again.",
        ),
        (
            500,
            refusal("InternalError", "etcd is away"),
            "The API server refused to read the job nano in the namespace research: etcd is away (500).",
        ),
    ],
)
def test_refusals_of_the_api_server(api_server, status: int, body: str, message: str):
    result = run(cli.status, "nano", "--kubeconfig", api_server(status, body))
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", message + "\n")


def test_api_server_that_is_away(kubeconfig):
    result = run(cli.stop, "nano", "--kubeconfig", kubeconfig("http://127.0.0.1:1"))
    assert result.exit_code == 1
    assert result.stderr == (
        "The API server at http://127.0.0.1:1 does not answer: [Errno 111] Connection refused. Check the network and "
        "the context (`kubectl config get-contexts`), or name another by --context.\n"
    )


def test_no_kubeconfig(tmp_path):
    result = run(cli.resume, "nano", "--kubeconfig", tmp_path / "none")
    assert result.exit_code == 40
    assert result.stderr == (
        "There is no cluster: Invalid kube-config file. No configuration found. Name a kubeconfig file by --kubeconfig "
        "or KUBECONFIG, and one of its contexts by --context.\n"
    )


def test_no_such_context(kubeconfig):
    result = run(cli.logs, "nano", "--kubeconfig", kubeconfig("http://127.0.0.1:1"), "--context", "there")
    assert result.exit_code == 40
    assert "Expected object with name there in" in result.stderr


@pytest.mark.parametrize(
    ("command", "options", "message"),
    [
        (cli.logs, ["--previous", "--attempt", 1], "--previous and --attempt do not go together"),
        (cli.status, ["--watch", "-o", "json"], "--watch and -o json do not go together"),
        (cli.stop, ["--timeout", "5"], "'5' is not valid: expected a duration such as 90s, 15m or 1h30m."),
    ],
)
def test_options_that_mean_nothing(command, options: list[object], message: str):
    result = run(command, "nano", *options)
    assert result.exit_code == 2
    assert message in result.stderr


def test_json_has_what_the_page_is_made_of(job):
    body = job("Running", suspend=True, attemptCount=2)
    assert plain(body) == {"name": "nano", "namespace": "research", "suspend": True, "status": body["status"]}
    assert JobView.of(body).status.attempt_count == 2


@pytest.mark.parametrize(("ending", "code"), [("Complete", 0), ("Failed", 1)])
def test_watching_ends_with_the_job(script, job, ending: str, code: int):
    going = job("Running", state="Training")
    console = Console(width=100, color_system=None, force_terminal=False)
    with console.capture() as capture:
        ended = watch_status(
            script(going, going, job(ending, state=ending)), "nano", console=console, sleep=lambda seconds: None
        )
    assert ended == code
    assert [line.split()[2] for line in capture.get().splitlines() if "nano" in line] == ["Training", ending]
