"""The generated reference page."""

from pathlib import Path

from lateen_api.reference import reference_page

CHECKED_IN = Path(__file__).parents[2] / "docs" / "reference.md"


def test_checked_in_page_is_what_the_models_give():
    assert CHECKED_IN.read_text() == reference_page(), "stale: run `make crd`"


def test_field_has_type_default_and_meaning():
    assert (
        "| `warmup` | a number of at least 0 | `0.01` | Length of the linear warm-up: below 1 a fraction of "
        "numTrainSteps, from 1 on a number of steps. Its last step has the peak; without a warm-up the first step has "
        "it. |\n"
    ) in reference_page()


def test_required_field_is_marked():
    assert "| `every` | a whole number of at least 1 | required |" in reference_page()


def test_sections_within_lists_and_mappings_have_tables():
    page = reference_page()
    assert "\n## spec.checkpoint.keep[]\n" in page
    assert "\n## spec.data.configs.NAME\n" in page


def test_every_row_of_a_table_has_as_many_cells_as_its_head():
    width = 0
    for line in reference_page().splitlines():
        cells = line.replace("\\|", "").count("|") - 1 if line.startswith("|") else 0
        assert width in (0, cells) or not cells, line
        width = cells
