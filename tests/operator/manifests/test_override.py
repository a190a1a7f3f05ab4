"""How `spec.compute.podTemplate` is merged. What it must not override stands in wrong_in_a_cluster.yaml."""

import pytest
from lateen_operator.manifests.override import merged
from lateen_operator.manifests.pod import pod_template
from stored_jobs import NANO, attempt


def test_mappings_are_merged_key_by_key():
    assert merged({"a": {"b": 1, "c": 2}}, {"a": {"c": 3, "d": 4}}) == {"a": {"b": 1, "c": 3, "d": 4}}


def test_null_takes_a_key_out():
    assert merged({"a": 1, "b": 2}, {"a": None, "c": None}) == {"b": 2}


def test_a_word_that_every_way_of_applying_keeps_takes_a_key_out_too():
    assert merged({"a": 1, "b": {"c": 2, "d": 3}}, {"a": "$remove", "b": {"c": "$remove"}}) == {"b": {"d": 3}}


def test_what_takes_a_key_out_never_reaches_the_pods():
    override = {"new": {"a": "$remove", "b": None, "c": [{"d": "$remove", "e": 1}]}}
    assert merged({}, override) == {"new": {"c": [{"e": 1}]}}


def test_lists_of_named_things_are_merged_by_name():
    base = [{"name": "a", "x": 1, "y": 1}, {"name": "b"}]
    assert merged(base, [{"name": "a", "y": 2}, {"name": "c"}]) == [
        {"name": "a", "x": 1, "y": 2},
        {"name": "b"},
        {"name": "c"},
    ]


def test_mounts_are_merged_by_their_path():
    base = {"volumeMounts": [{"name": "v", "mountPath": "/a"}, {"name": "v", "mountPath": "/b"}]}
    override = {"volumeMounts": [{"name": "v", "mountPath": "/b", "readOnly": True}, {"name": "v", "mountPath": "/c"}]}
    assert merged(base, override)["volumeMounts"] == [
        {"name": "v", "mountPath": "/a"},
        {"name": "v", "mountPath": "/b", "readOnly": True},
        {"name": "v", "mountPath": "/c"},
    ]


def test_other_lists_are_replaced():
    assert merged({"a": [1, 2], "b": [{"key": "x"}]}, {"a": [3], "b": []}) == {"a": [3], "b": []}


def test_neither_side_is_changed():
    base, override = {"a": {"b": 1}}, {"a": {"c": [1]}}
    merged(base, override)["a"]["c"].append(2)
    assert (base, override) == ({"a": {"b": 1}}, {"a": {"c": [1]}})


@pytest.mark.parametrize("nothing", ["null", "$remove"])
def test_job_may_loosen_what_a_driver_needs(nothing):
    trainer = f"{{name: trainer, securityContext: {{privileged: true, allowPrivilegeEscalation: {nothing}}}}}"
    pod = f"{{securityContext: {{runAsUser: 0, runAsNonRoot: {nothing}}}, containers: [{trainer}]}}"
    spec = pod_template(attempt(NANO, f"compute.podTemplate={{spec: {pod}}}"))["spec"]
    assert (spec["securityContext"]["runAsUser"], "runAsNonRoot" in spec["securityContext"]) == (0, False)
    assert spec["containers"][0]["securityContext"] == {
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
        "privileged": True,
    }


def test_volume_of_the_override_can_hold_checkpoints():
    volume = "volumes: [{name: nfs, nfs: {server: files, path: /}}]"
    mount = "containers: [{name: trainer, volumeMounts: [{name: nfs, mountPath: /nfs}]}]"
    spec = pod_template(
        attempt(NANO, "checkpoint.path=/nfs/nano", f"compute.podTemplate={{spec: {{{volume}, {mount}}}}}")
    )["spec"]
    assert {"name": "nfs", "mountPath": "/nfs"} in spec["containers"][0]["volumeMounts"]
