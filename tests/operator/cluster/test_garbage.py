"""What of a job's objects serves no purpose any more, and what is missing."""

from typing import Any

from lateen_api.spec import RecoverySpec
from lateen_operator.cluster.garbage import (
    misses_config_map,
    missing_probes,
    useless_config_maps,
    useless_job_sets,
    useless_probes,
)
from lateen_operator.cluster.observe import observe
from lateen_operator.cluster.termination import Termination
from lateen_operator.observation import Observation, Target
from watched_objects import KEY, T0, UID, Cluster, capacity_probe, config_map, job, job_set, pod

TOLD = Termination(T0 + 50).to_json()


def seen(cluster: Cluster) -> Observation:
    target = Target(recovery=RecoverySpec(), hosts=2, digest="d1")
    return observe(cluster.store.get(KEY), target, None, None, T0 + 100)


def useless(cluster: Cluster) -> tuple[list[str], list[str]]:
    objects = cluster.store.get(KEY)
    return [one.name for one in useless_job_sets(objects, seen(cluster))], [
        one.name for one in useless_config_maps(objects)
    ]


def closed(*numbers: int) -> dict[str, Any]:
    return {
        "attempts": [
            {
                "number": n,
                "hosts": 2,
                "started": "2030-03-17T17:46:45Z",
                "ended": "2030-03-17T17:47:00Z",
                "failureClass": "User",
            }
            for n in numbers
        ]
    }


def test_former_attempts_go_once_a_newer_one_exists() -> None:
    cluster = Cluster(job(status=closed(1)), job_set(1), config_map(1), job_set(2), config_map(2), pod(attempt=2))
    assert useless(cluster) == (["nano-a1"], ["nano-a1"])


def test_the_newest_stays_for_its_logs_when_it_is_over() -> None:
    cluster = Cluster(job(status=closed(1)), job_set(1, conditions={"Failed": 60}), config_map(1))
    assert useless(cluster) == ([], [])


def test_it_stays_when_all_its_pods_are_over_and_job_set_has_not_said_so_yet() -> None:
    over = [pod(host, ended=(0, 46)) for host in (0, 1)]
    assert useless(Cluster(job(status=closed(1)), job_set(1), *over))[0] == []


def test_one_pod_of_two_that_is_over_does_not_hold_it() -> None:
    assert useless(Cluster(job(status=closed(1)), job_set(1), pod(0, ended=(0, 46)), pod(1)))[0] == ["nano-a1"]


def test_an_ended_attempt_whose_job_set_might_go_on_goes() -> None:
    assert useless(Cluster(job(status=closed(1)), job_set(1)))[0] == ["nano-a1"]


def test_one_that_we_suspended_stays() -> None:
    assert useless(Cluster(job(status=closed(1)), job_set(1, suspend=True, stopping=TOLD)))[0] == []


def test_one_that_we_suspended_goes_if_a_queue_might_resume_it() -> None:
    assert useless(Cluster(job(status=closed(1)), job_set(1, suspend=True, stopping=TOLD, queue="q")))[0] == ["nano-a1"]


def test_the_attempt_that_runs_stays() -> None:
    assert useless(Cluster(job(), job_set(1), config_map(1))) == ([], [])


def test_a_config_map_of_an_attempt_without_job_set_yet_stays() -> None:
    assert useless(Cluster(job(status=closed(1)), job_set(1, conditions={"Failed": 9}), config_map(2)))[1] == []


def test_what_is_being_deleted_is_not_deleted_again() -> None:
    assert useless(Cluster(job(status=closed(1)), job_set(1, deleted=60)))[0] == []


def test_objects_of_another_job_of_the_name_are_left_alone() -> None:
    assert useless(Cluster(job(uid="new"), job_set(1, owner=UID), config_map(1))) == ([], [])


def test_a_running_attempt_misses_its_config_map() -> None:
    cluster = Cluster(job(), job_set(1))
    assert misses_config_map(cluster.store.get(KEY), seen(cluster))
    cluster.put(config_map(1))
    assert not misses_config_map(cluster.store.get(KEY), seen(cluster))


def test_one_that_is_leaving_needs_none() -> None:
    cluster = Cluster(job(), job_set(1, stopping=TOLD, suspend=True), pod())
    assert not misses_config_map(cluster.store.get(KEY), seen(cluster))


def test_capacity_probes_are_as_many_as_wanted() -> None:
    objects = Cluster(job(), capacity_probe(0), capacity_probe(2)).store.get(KEY)
    assert missing_probes(objects, 2) == [1]
    assert [pod.name for pod in useless_probes(objects, 2)] == ["nano-probe-2"]


def test_a_probe_with_the_former_label_is_removed() -> None:
    former = capacity_probe(0)
    former["metadata"]["labels"]["lateen.dev/scout"] = former["metadata"]["labels"].pop("lateen.dev/capacity-probe")
    objects = Cluster(job(), former).store.get(KEY)
    assert [pod.name for pod in useless_probes(objects, 0)] == ["nano-probe-0"]
