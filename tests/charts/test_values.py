"""Values that Helm refuses, each with where and why."""

from typing import Any

import pytest
from charts.helm import MAY_BUILD_HELM, Refused, operator_container, rendered, template

pytestmark = MAY_BUILD_HELM


@pytest.mark.parametrize(
    ("values", "where", "why"),
    [
        ({"namespaces": "team"}, "/namespaces", "got string, want array"),
        ({"namespaces": ["Team"]}, "/namespaces/0", "'Team' does not match pattern"),
        ({"namespaces": ["a", "a"]}, "/namespaces", "items at 0 and 1 are equal"),
        ({"crds": {"install": "yes"}}, "/crds/install", "got string, want boolean"),
        ({"operator": {"workers": 0}}, "/operator/workers", "minimum: got 0, want 1"),
        ({"operator": {"workers": "many"}}, "/operator/workers", "got string, want integer"),
        ({"operator": {"logFormat": "xml"}}, "/operator/logFormat", "value must be one of 'text', 'json'"),
        ({"image": {"pullPolicy": "Sometimes"}}, "/image/pullPolicy", "value must be one of"),
        ({"image": {"digest": "1234"}}, "/image/digest", "does not match pattern"),
        ({"image": {"tag": ["1"]}}, "/image/tag", "got array"),
        ({"imgae": {"tag": "1"}}, "", "additional properties 'imgae' not allowed"),
        ({"metrics": {"serviceMonitor": True}}, "/metrics/serviceMonitor", "got boolean, want object"),
        ({"metrics": {"interval": "soon"}}, "/metrics/interval", "does not match pattern"),
        ({"priorityClasses": [{"name": "a"}]}, "/priorityClasses/0", "missing property 'value'"),
        ({"priorityClasses": [{"name": "a", "value": 2e9}]}, "/priorityClasses/0/value", "maximum"),
        ({"podLabels": {"a": 1}}, "/podLabels/a", "got number, want string"),
    ],
)
def test_a_wrong_value_is_refused(values: Any, where: str, why: str):
    with pytest.raises(Refused) as refusal:
        rendered(values=values)
    assert f"'{where}'" in str(refusal.value)
    assert why in str(refusal.value)


@pytest.mark.parametrize(
    ("tag", "image"),
    [
        ("''", "lateen-operator:0.1.0"),
        ("'1.10'", "lateen-operator:1.10"),
        ("v1.10", "lateen-operator:v1.10"),
        ("'20261127'", "lateen-operator:20261127"),
    ],
)
def test_a_tag_stays_what_it_is(tag: str, image: str):
    assert operator_container(template(values=f"image: {{tag: {tag}}}"))["image"] == image


@pytest.mark.parametrize("tag", ["1.10", "1e3", "1.0", "012", "7"])
@pytest.mark.parametrize("where", ["image", "trainer.image"])
def test_a_tag_that_yaml_has_changed_already_is_refused(tag: str, where: str):
    first, _, second = where.partition(".")
    values = f"{first}: {{tag: {tag}}}" if not second else f"{first}: {{{second}: {{tag: {tag}}}}}"
    with pytest.raises(Refused, match=rf"{where}\.tag is a number, .*Quote it"):
        rendered(values=values)


@pytest.mark.parametrize("tag", ["1.10", "012", "7", "20261127"])
def test_a_tag_of_the_command_line_stays_what_it_is(tag: str):
    assert operator_container(template(f"--set=image.tag={tag}"))["image"] == f"lateen-operator:{tag}"


def test_a_digest_counts_more_than_a_tag():
    digest = f"sha256:{'a' * 64}"
    image = operator_container(template(values={"image": {"digest": digest, "tag": "1"}}))["image"]
    assert image == f"lateen-operator@{digest}"


def test_a_parent_chart_may_have_values_for_all():
    assert template(values={"global": {"storageClass": "fast"}})


@pytest.mark.parametrize("what", ["dashboards", "alerts"])
def test_what_the_chart_does_not_hold_cannot_be_turned_on(what: str, bare_chart):
    with pytest.raises(Refused, match=rf"{what}\.enabled is true, and this chart holds no"):
        rendered(values={what: {"enabled": True}}, chart=bare_chart)
