"""`lateen crd`: prints what is generated from the models."""

import click


@click.command()
@click.option("--reference", is_flag=True, help="Print the reference page instead (docs/reference.md).")
def crd(reference: bool) -> None:
    """Print the CustomResourceDefinition, for `kubectl apply -f -`."""
    if reference:
        from lateen_api.reference import reference_page

        click.echo(reference_page(), nl=False)
    else:
        from lateen_api.crd import crd_yaml

        click.echo(crd_yaml(), nl=False)
