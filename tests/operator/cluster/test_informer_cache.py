"""The store: newer replaces older, older never newer; what is deleted stays so; jobs of one name are told apart."""

import tracemalloc

from lateen_operator.cluster.informer_cache import InformerCache, Key
from lateen_operator.cluster.resources import CONFIG_MAPS, JOB_SETS, JOBS, NETWORK_POLICIES, PODS
from watched_objects import KEY, T0, Cluster, config_map, job, job_set, owned, pod


def test_an_object_belongs_to_the_job_of_its_label() -> None:
    cluster = Cluster(job(), job_set(), config_map(), pod())
    objects = cluster.store.get(KEY)
    assert (len(objects.job_sets), len(objects.config_maps), len(objects.pods)) == (1, 1, 1)


def test_an_older_version_changes_nothing() -> None:
    cluster = Cluster(job_set(version=7, suspend=True))
    assert cluster.put(job_set(version=6)) is None
    assert cluster.store.get(KEY).job_sets["nano-a1"].suspended


def test_the_same_version_again_is_no_news() -> None:
    cluster = Cluster(job_set(version=7))
    assert cluster.put(job_set(version=7)) is None
    assert cluster.put(job_set(version=8)) == KEY


def test_an_answer_that_comes_after_the_deletion_brings_nothing_back() -> None:
    cluster = Cluster(job(), job_set(version=7))
    cluster.remove(job_set(version=9), seconds=50)
    assert cluster.put(job_set(version=8, suspend=True)) is None
    assert cluster.store.get(KEY).job_sets == {}


def test_a_deletion_of_a_former_object_of_the_name_leaves_the_new_one() -> None:
    cluster = Cluster(job(), job_set(version=9))
    former = job_set(version=5)
    former["metadata"]["uid"] = "former"
    cluster.remove(former, seconds=50)
    assert list(cluster.store.get(KEY).job_sets) == ["nano-a1"]


def test_objects_of_others_with_our_label_are_none_of_ours() -> None:
    foreign = config_map()
    foreign["metadata"]["ownerReferences"] = []
    assert Cluster(foreign).store.keys() == []


def test_a_job_of_which_nothing_is_left_is_forgotten() -> None:
    cluster = Cluster(job(version=1), job_set(version=2))
    cluster.remove(job(version=5), seconds=50)
    assert cluster.store.keys() == [KEY]
    cluster.remove(job_set(version=6), seconds=51)
    assert cluster.store.keys() == []


def test_a_pod_that_is_gone_keeps_its_end() -> None:
    cluster = Cluster(job(), pod(1))
    cluster.remove(pod(1, version=9, ended=(3, 40)), seconds=42)
    (gone,) = cluster.store.get(KEY).gone.values()
    assert (gone.exit_code, gone.gone_at) == (3, T0 + 42)


def test_ends_of_former_attempts_are_forgotten() -> None:
    cluster = Cluster(job(), pod(1, attempt=1), pod(1, attempt=2))
    for attempt in (1, 2):
        cluster.remove(pod(1, attempt=attempt, version=9, ended=(3, 40)), seconds=42)
    cluster.store.forget_gone(KEY, before=2)
    assert [gone.attempt for gone in cluster.store.get(KEY).gone.values()] == [2]


def test_a_list_takes_out_what_it_does_not_show() -> None:
    cluster = Cluster(job(), job_set(1, version=3), job_set(2, version=4))
    changed = cluster.store.keep_only(JOB_SETS, None, {"22222222-bbbb-2"}, before=10)
    assert (changed, list(cluster.store.get(KEY).job_sets)) == ({KEY}, ["nano-a2"])


def test_a_list_does_not_take_out_what_is_newer_than_it() -> None:
    cluster = Cluster(job(), job_set(1, version=30))
    assert cluster.store.keep_only(JOB_SETS, None, set(), before=10) == set()
    assert list(cluster.store.get(KEY).job_sets) == ["nano-a1"]


def test_a_list_of_one_namespace_says_nothing_of_others() -> None:
    cluster = Cluster(job(), job_set(1, version=3))
    assert cluster.store.keep_only(JOB_SETS, "elsewhere", set(), before=10) == set()


def test_a_thousand_jobs_of_four_hosts_take_little_memory() -> None:
    store = InformerCache(lambda: T0)
    tracemalloc.start()
    for number in range(1000):
        store.put(JOBS, _named(job(), number))
        store.put(JOB_SETS, _named(job_set(hosts=4), number))
        store.put(CONFIG_MAPS, _named(config_map(), number))
        store.put(NETWORK_POLICIES, _named({"metadata": owned("n", "u", 3, None)}, number))
        for host in range(4):
            store.put(PODS, _named(pod(host), number))
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(store) == 1000
    assert size < 20e6


def _named(thing: dict, number: int) -> dict:  # type: ignore[type-arg]
    metadata = thing["metadata"]
    metadata["uid"] += f"-{number}"
    if thing.get("kind") == "LMTrainingJob":
        metadata["name"] = f"job{number}"
        thing["spec"] = {"data": {"trainUrls": ["gs://corpus/train_{1..128}.jsonl.gz"] * 8}}
    else:
        metadata["labels"]["lateen.dev/job"] = f"job{number}"
        metadata["name"] += f"-{number}"
    return thing


def test_keys_print_as_kubectl_names_jobs() -> None:
    assert str(Key("team", "nano")) == "team/nano"
