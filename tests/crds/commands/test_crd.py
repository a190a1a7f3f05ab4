"""`lateen crd`."""

from click.testing import CliRunner
from lateen_api.commands.crd import crd
from lateen_api.crd import crd_yaml
from lateen_api.reference import reference_page


def test_definition_is_printed_as_it_is_checked_in():
    assert CliRunner().invoke(crd).stdout == crd_yaml()


def test_reference_is_printed_as_it_is_checked_in():
    assert CliRunner().invoke(crd, ["--reference"]).stdout == reference_page()
