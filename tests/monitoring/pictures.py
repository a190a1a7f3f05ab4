"""Pictures of the dashboards for docs/monitoring.md, from a real run: `python -m monitoring.pictures`."""

import json
import shutil
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

from monitoring.drawing import draw, height
from monitoring.scraped_run import DASHBOARDS, scraped_run

DOCS = Path(__file__).parents[2] / "docs"
ROWS = {"fleet": 32, "job": 39, "operator": 31}
"""Of each dashboard's grid: its upper part."""

SECONDS = 90
_WIDTH = 1280


def main() -> None:
    """Train, scrape, ask what the panels ask, draw, and photograph it in Chromium."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        raise SystemExit("install Chromium first: it draws the pictures")
    with tempfile.TemporaryDirectory() as name, scraped_run(Path(name), SECONDS, interval="1s") as whole:
        scraped = replace(whole, start=whole.end - SECONDS)
        for path in DASHBOARDS:
            rows = ROWS[path.stem]
            page = Path(name) / f"{path.stem}.html"
            page.write_text(draw(json.loads(path.read_text()), scraped, rows))
            picture = DOCS / f"dashboard-{path.stem}.png"
            options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
            options += [f"--window-size={_WIDTH},{height(rows)}", f"--screenshot={picture}"]
            subprocess.run([browser, *options, page.as_uri()], check=True, capture_output=True, timeout=120)
            print(f"{picture}: {picture.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
