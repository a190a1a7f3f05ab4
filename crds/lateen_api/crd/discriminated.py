"""Rules for discriminated sections: a field is refused where the section's type does not have it."""

from collections.abc import Iterator

from lateen_api.crd.rule import Rule
from lateen_api.discriminated import DISCRIMINATOR, VARIANTS, Schema, owners
from lateen_api.wording import listing

Path = tuple[str, ...]


def variant_rules(schema: Schema, path: Path = ()) -> Iterator[tuple[Path, list[Rule]]]:
    """The rules of all discriminated sections of a schema, by the path of the section."""
    if VARIANTS in schema:
        yield path, list(_rules(schema))
    for name, field in schema.get("properties", {}).items():
        yield from variant_rules(field, (*path, name))


def _rules(section: Schema) -> Iterator[Rule]:
    types = list(section[VARIANTS])
    for field in section["properties"]:
        having = owners(section, field)
        if having == types:
            continue
        quoted = ", ".join(f"'{one}'" for one in having)
        yield Rule(
            f"!has(self.{field}) || self.{DISCRIMINATOR} in [{quoted}]",
            f"{field} is for {DISCRIMINATOR} {listing(having)} only. Remove it, or change {DISCRIMINATOR}.",
        )


def or_default(section: Schema, field: str, place: str) -> str:
    """CEL for a number of a discriminated section, or its type's default where it is left out.

    Args:
        section: its schema. All types have the field, with a default.
        place: the section in CEL, such as `self.model`.
    """
    defaults = ", ".join(
        f"'{name}': {variant['properties'][field]['default']}" for name, variant in section[VARIANTS].items()
    )
    return f"(has({place}.{field}) ? {place}.{field} : {{{defaults}}}[{place}.{DISCRIMINATOR}])"
