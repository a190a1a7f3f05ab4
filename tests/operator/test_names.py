"""Names by which the operator and its objects know each other."""

import pytest
from lateen_operator import names


def test_name_of_an_attempt_is_read_back():
    assert names.attempt_name("nano", 3) == "nano-a3"
    assert names.attempt_number("nano-a3", "nano") == 3


@pytest.mark.parametrize("name", ["nano-a0", "nano-a03", "nano-a", "nano", "other-a3", "nano-a3-workers-0"])
def test_other_names_are_no_attempts(name: str):
    assert names.attempt_number(name, "nano") is None


def test_job_whose_name_looks_like_an_attempt():
    assert names.attempt_number("nano-a1-a2", "nano-a1") == 2
    assert names.attempt_number("nano-a1-a2", "nano") is None


def test_pods_find_process_0():
    assert names.coordinator("nano-a3") == "nano-a3-workers-0-0.nano-a3:8476"
    assert names.pod_host("nano-a3", 1, 2) == "nano-a3-workers-1-2.nano-a3"


def test_selectors_find_what_the_labels_say():
    assert names.labels("nano", 3) == {
        "lateen.dev/job": "nano",
        "lateen.dev/attempt": "3",
        "app.kubernetes.io/managed-by": "lateen",
    }
    assert names.selector("nano") == "lateen.dev/job=nano"
    assert names.selector("nano", 3) == "lateen.dev/job=nano,lateen.dev/attempt=3"


def test_names_of_what_a_job_has_beside_its_attempts():
    assert (names.probe_name("nano", 0), names.network_policy_name("nano")) == ("nano-probe-0", "nano-network")
