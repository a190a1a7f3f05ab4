"""Writes charts/lateen/dashboards/*.json."""

from pathlib import Path

from dashboards.fleet import FLEET
from dashboards.job import JOB
from dashboards.operator import OPERATOR

FOLDER = Path(__file__).parents[1] / "lateen" / "dashboards"
FILES = {"fleet.json": FLEET, "job.json": JOB, "operator.json": OPERATOR}


def main() -> None:
    """Writes all of them."""
    for name, dashboard in FILES.items():
        (FOLDER / name).write_text(dashboard.text())


if __name__ == "__main__":
    main()
