"""docs/metrics.md is what the code says."""

import metrics_page


def test_the_page_is_current() -> None:
    assert metrics_page.PAGE.read_text() == metrics_page.page(), "run `make crd`"


def test_names_have_units_and_no_label_is_one_that_scrapers_set() -> None:
    page = metrics_page.page()
    for label in ("namespace", "pod", "job", "instance", "container", "endpoint", "service", "node"):
        assert f"`{label}`" not in page
    assert all(line.startswith("| `lateen_") for line in page.splitlines() if line.startswith("| `"))
