"""The CustomResourceDefinition, generated from the models: `lateen crd > crds/lmtrainingjobs.yaml`."""

import copy
from typing import Any

import yaml

from lateen_api.accelerators import ACCELERATORS
from lateen_api.crd.rule import Rule
from lateen_api.crd.rules import FORMATS, LONGEST_FORMATTED, RULES
from lateen_api.discriminated import without_variants
from lateen_api.schema import Schema, job_schema, schema_at, structural_schema
from lateen_api.spec.job import GROUP, KIND, PLURAL, SHORT_NAME, SINGULAR, VERSION
from lateen_api.status import JobStatus

_HEADER = "# Generated from lateen_api by `make crd`: change the models, not this file.\n"


def crd() -> dict[str, Any]:
    """The CustomResourceDefinition as plain data."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": SINGULAR,
                "shortNames": [SHORT_NAME],
                "categories": ["all", "lateen"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": _columns(),
                    "schema": {"openAPIV3Schema": resource_schema()},
                }
            ],
        },
    }


def crd_yaml() -> str:
    """The CustomResourceDefinition as the text of `crds/lmtrainingjobs.yaml`."""
    return _HEADER + yaml.safe_dump(crd(), sort_keys=False, allow_unicode=True, width=110)


def resource_schema() -> Schema:
    """The schema of the whole resource: spec with defaults and rules, and status."""
    schema = copy.deepcopy(without_variants(job_schema()))
    properties = schema["properties"]
    properties["apiVersion"] = {"type": "string"}
    properties["kind"] = {"type": "string"}
    # The API server has its own schema of metadata, and takes none from a CRD but for the name's.
    properties["metadata"] = {"type": "object"}
    properties["status"] = structural_schema(JobStatus)
    schema["required"] = ["spec"]
    _default_sections(properties["spec"])
    properties["spec"]["properties"]["compute"]["properties"]["accelerator"]["enum"] = [a.name for a in ACCELERATORS]
    for path, rules in RULES.items():
        node = schema_at(schema, path)
        if node is None:
            raise KeyError(f"rules stand on {'.'.join(path)}, which is no field")
        node["x-kubernetes-validations"] = [_plain(rule) for rule in rules]
    _explain_formats(properties["spec"])
    return schema


def _default_sections(spec: Schema) -> None:
    """Defaults of fields hold only within a section that is there, so a section left out gets them as its own default.

    An empty one would do for defaulting, but the API server evaluates the section's rules on its default as it is
    written here.
    """
    for name, section in spec["properties"].items():
        defaults = {key: field["default"] for key, field in section.get("properties", {}).items() if "default" in field}
        if name not in spec["required"] and defaults:
            section["default"] = defaults


def _explain_formats(schema: Schema) -> None:
    """Puts rules, which have messages, in place of patterns that people write against."""
    rule = FORMATS.get(schema.get("pattern", ""))
    if rule is not None:
        del schema["pattern"]
        schema.setdefault("maxLength", LONGEST_FORMATTED)
        schema["x-kubernetes-validations"] = [_plain(rule)]
    for field in [*schema.get("properties", {}).values(), *([schema["items"]] if "items" in schema else [])]:
        _explain_formats(field)


def _plain(rule: Rule) -> dict[str, str]:
    path = {} if rule.field_path is None else {"fieldPath": rule.field_path}
    return {"rule": rule.rule, "message": rule.message, **path}


def _columns() -> list[dict[str, Any]]:
    """What `kubectl get lmtj` shows besides the name; with priority 1 only `-o wide` does."""
    return [
        _column("State", "string", ".status.state", "The state in one word"),
        _column("Step", "integer", ".status.progress.step", "Steps trained"),
        _column("Loss", "number", ".status.progress.loss", "Training loss, in nats per token"),
        _column("Hosts", "integer", ".status.hosts", "Hosts at work"),
        _column("Attempts", "integer", ".status.attemptCount", "Attempts made"),
        _column("ETA", "string", ".status.progress.eta", "Time to the last step"),
        _column("Age", "date", ".metadata.creationTimestamp", "Time since the job was created"),
        _column("Of", "integer", ".status.progress.of", "Steps in all", priority=1),
        _column(
            "Validation", "number", ".status.progress.validationLoss", "Validation loss, in nats per token", priority=1
        ),
        _column("Tokens/s", "number", ".status.progress.tokensPerSecond", "Tokens a second", priority=1),
        _column("MFU", "number", ".status.progress.mfu", "Model FLOPs utilisation", priority=1),
        _column("Checkpoint", "integer", ".status.lastCheckpoint.step", "Step of the last checkpoint", priority=1),
        _column("Accelerator", "string", ".spec.compute.accelerator", "Type of the machines", priority=1),
    ]


def _column(name: str, kind: str, path: str, description: str, *, priority: int = 0) -> dict[str, Any]:
    return {"name": name, "type": kind, "jsonPath": path, "description": description, "priority": priority}
