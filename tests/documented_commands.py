"""Which test runs each command of the documentation, or why none can."""

from dataclasses import dataclass

_STATUS = "tests/e2e_cluster/test_commands.py::test_status_of_a_job"
_LOGS = "tests/operator/commands/test_logs.py::test_another_process_attempt_and_length"
_CHART = "tests/e2e_cluster/test_chart.py"
_KIND_PAGE = "tests/e2e_cluster/test_kind_page.py::test_the_page_trains_the_example_by_its_own_commands"
_README = "tests/e2e/test_readme.py::test_the_commands_of_the_readme_train_its_job"
_REPORT = "tests/operator/html_report/test_page.py::test_the_command"
_RUNBOOKS = "tests/e2e_cluster/test_runbooks.py::test_the_commands_of_a_runbook_work_on_a_job_that_trains"
_DOCKER = "needs Docker, which the tests do without: tests/cluster builds the same Dockerfiles by buildah"


@dataclass(frozen=True)
class Coverage:
    """What becomes of the commands that match a pattern."""

    pattern: str
    """A regular expression for the whole command."""

    test: str = ""
    """`file::function` of the test that runs it, with other names and values where the command has placeholders."""

    reason: str = ""
    """Why no test runs it; empty if one does."""

    page: str = ""
    """The end of the path of the only page that it is for; empty: any."""


COVERAGE = (
    # README and pages on one machine.
    Coverage(r"make run", "tests/e2e/test_nano.py::test_nano_learns_python"),
    Coverage(r"make test", reason="runs this test"),
    Coverage(r"\.venv/bin/lateen (plan|run|checkpoints|generate) .*", _README),
    Coverage(r"lateen run job\.yaml", _README),
    Coverage(r"lateen generate runs/nano/checkpoints .*", _README),
    Coverage(
        r"lateen generate exported/ .*",
        "tests/trainer/inference/test_cli.py::test_several_samples_come_one_below_the_other",
    ),
    Coverage(
        r"lateen generate hf://.*",
        reason="reads a model on the hub, which the tests do without; the options are checked",
    ),
    Coverage(
        r"lateen plan --compile job\.yaml",
        "tests/crds/commands/test_plan.py::test_compiled_step_stands_beside_the_estimate",
    ),
    Coverage(
        r"python -m venv /tmp/transformers4",
        reason="installs another transformers: run by hand, with the result on the page",
    ),
    Coverage(r"/tmp/transformers4/bin/pip install .*", reason="as above"),
    Coverage(r"LATEEN_OTHER_TRANSFORMERS=.*", reason="as above"),
    # The cluster without Docker.
    Coverage(r"make cluster", "tests/cluster/test_cluster.py::test_all_nodes_are_ready"),
    Coverage(r"make images", f"{_CHART}::test_the_example_is_trained_in_a_restricted_namespace"),
    Coverage(r"make test-cluster", reason="is what runs the tests on the cluster"),
    Coverage(r"make cluster-down", "tests/cluster/test_cleanup.py::test_"),
    Coverage(r"make chaos .*", "tests/e2e_cluster/test_chaos.py::test_"),
    Coverage(r"python -m cluster (up|program) .*", "tests/cluster/test_cluster.py::test_all_nodes_are_ready"),
    Coverage(
        r"python -m cluster (kill|start)-node .*",
        "tests/cluster/test_cluster.py::test_a_killed_node_is_not_ready_until_it_is_started",
    ),
    # Google Cloud.
    Coverage(r"gcloud .*|kubectl create serviceaccount .*", reason="needs a project of Google Cloud", page="gke.md"),
    # kind.
    Coverage(r"(mkdir|kind|docker|rm) .*", reason=_DOCKER, page="kind.md"),
    Coverage(
        r"kubectl (apply --server-side|rollout) .*",
        reason="installs JobSet from the internet; the tests run the same version",
        page="kind.md",
    ),
    Coverage(r"(cat|helm install|kubectl (create|apply -[fn]|wait|get)) (.|\n)*", _KIND_PAGE, page="kind.md"),
    # Helm and kubectl.
    Coverage(r"docker build .*", reason=_DOCKER, page="kubernetes.md"),
    Coverage(
        r"(helm install|kubectl rollout|helm test) .*",
        f"{_CHART}::test_an_upgrade_brings_the_new_definition_and_loses_no_attempt",
        page="docs/kubernetes.md",
    ),
    Coverage(r"helm upgrade .*", f"{_CHART}::test_an_upgrade_brings_the_new_definition_and_loses_no_attempt"),
    Coverage(r"helm uninstall .*", f"{_CHART}::test_what_is_uninstalled_leaves_the_definition_and_the_jobs"),
    Coverage(
        r"helm (install|test) .*",
        f"{_CHART}::test_two_releases_side_by_side_keep_to_their_namespaces",
        page="lateen/README.md",
    ),
    Coverage(
        r"kubectl apply -f docs/examples/nano-kubernetes\.yaml",
        f"{_CHART}::test_the_example_is_trained_in_a_restricted_namespace",
    ),
    Coverage(r"kubectl get lmtj --watch", reason="does not end; tests/e2e_cluster reads the same columns"),
    Coverage(r"kubectl patch lmtj nano .*", "tests/e2e_cluster/test_lifecycle.py::test_"),
    Coverage(r"kubectl (describe|delete) lmtj nano", "tests/e2e_cluster/test_lifecycle.py::test_"),
    Coverage(
        r"kubectl get lmtj nano -o jsonpath=.*",
        "tests/e2e_cluster/test_kueue.py::test_the_second_job_waits_for_the_quota_and_says_so_in_the_words_of_kueue",
    ),
    Coverage(r"lateen report runs/nano", f"{_REPORT}_writes_beside_the_run_or_where_it_is_told"),
    Coverage(
        r"kubectl get lmtj nano -o json > job\.json|lateen report /shared/nano .*",
        "tests/e2e_cluster/test_commands.py::test_the_report_of_a_job_in_the_cluster",
    ),
    Coverage(r"lateen status nano.*", _STATUS),
    Coverage(r"lateen logs nano.*", _LOGS),
    Coverage(r"lateen (stop|resume) nano", "tests/e2e_cluster/test_commands.py::test_stop_and_resume"),
    # Runbooks.
    Coverage(r"kubectl get workloads .*", reason="needs Kueue", page="LateenJobPending.md"),
    Coverage(r"(lateen|kubectl) .*", _RUNBOOKS, page="runbooks/"),
)
"""The first entry that matches a command counts."""
