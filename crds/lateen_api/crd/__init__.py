"""The CustomResourceDefinition of LMTrainingJob."""

from lateen_api.crd.definition import crd, crd_yaml, resource_schema

__all__ = ["crd", "crd_yaml", "resource_schema"]
