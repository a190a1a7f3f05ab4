"""The page of `lateen report` in a real browser: wide, on a telephone, on paper, with pointer and keys.

Chromium is Debian's. Where it is not and cannot be installed, these tests are skipped.
"""

import json
import os
import re
import shutil
import subprocess
from html import escape
from pathlib import Path
from typing import Any

import pytest
from cluster import debian
from cluster.failure import ClusterError
from lateen_operator.html_report.folder import read_run
from lateen_operator.html_report.page import page
from run_folders import STEPS, loss, make_checkpoint, make_run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PROBE = """
const found = { errors: window.failed };
const plot = [...document.querySelectorAll("#loss .plot")].find((one) => one.offsetParent);
const box = plot.getBoundingClientRect();
const tip = () => plot.querySelector(".tip");
const at = (share) => {
  const clientX = box.left + share * box.width;
  plot.dispatchEvent(new PointerEvent("pointermove", { clientX, clientY: box.top + 5, bubbles: true }));
  const place = tip().getBoundingClientRect();
  return [tip().innerText, place.left >= box.left - 1 && place.right <= box.right + 1];
};
found.width = innerWidth;
found.overflows = document.documentElement.scrollWidth > innerWidth;
found.middle = at(0.5);
found.end = at(1);
plot.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowLeft", bubbles: true, cancelable: true }));
found.left = tip().innerText;
plot.dispatchEvent(new PointerEvent("pointerleave"));
found.hidden = tip().hidden;
document.querySelector("label[for=loss-log]").click();
const plots = [...document.querySelectorAll("#loss .plot")];
found.shown = plots.filter((one) => one.offsetParent).map((one) => one.className);
const labels = [...document.querySelectorAll("#loss .plot.log .y, #loss .plot.log .x")];
found.smallest = Math.min(...labels.map((one) => parseFloat(getComputedStyle(one).fontSize)));
const visible = labels.filter((one) => getComputedStyle(one).visibility === "visible");
const places = visible.map((one) => one.getBoundingClientRect());
found.overlap = places.some((a, i) => places.some((b, j) => i < j && a.left < b.right && b.left < a.right
  && a.top < b.bottom && b.top < a.bottom));
found.ground = getComputedStyle(document.body).backgroundColor;
"""


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser; skipped without one."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None and os.geteuid() == 0:
        try:
            debian.install({"chromium": "chromium"})
        except ClusterError as error:
            pytest.skip(f"there is no Chromium, and it cannot be installed: {error}")
        found = shutil.which("chromium")
    if found is None:
        pytest.skip("there is no Chromium")
    return found


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = make_run(
        tmp_path_factory.mktemp("run") / "nano",
        state="Complete",
        loss=loss(STEPS),
        unigramEntropy=3.07,
        samples=[{"prompt": "def main(", "text": "argv): " + "x" * 300}],
    )
    make_checkpoint(folder / "checkpoints", STEPS)
    return page(read_run(folder), "1.0")


def browse(chromium: str, file: Path, *options: str) -> subprocess.CompletedProcess[str]:
    profile = file.parent / "profile"
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}", *options]
    done = subprocess.run(
        [*command, "--enable-logging=stderr", file.as_uri()], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == []
    return done


def probe(chromium: str, folder: Path, html: str, width: int, *options: str) -> dict[str, Any]:
    """What the script above finds in the page at a width in pixels."""
    caught = "window.failed = []; addEventListener('error', (event) => window.failed.push(event.message));"
    told = 'parent.document.getElementById("found").textContent = JSON.stringify(found);'
    instrumented = html.replace("<body>", f"<body><script>{caught}</script>")
    instrumented = instrumented.replace("</body>", f"<script>{PROBE}{told}</script></body>")
    # Windows have a least width, which frames have not.
    frame = f'<iframe srcdoc="{escape(instrumented)}" style="width:{width}px;height:3000px;border:0"></iframe>'
    file = folder / "frame.html"
    file.write_text(f'<!DOCTYPE html><meta charset="utf-8"><pre id="found"></pre>{frame}')
    dom = browse(chromium, file, "--virtual-time-budget=5000", "--dump-dom", *options).stdout
    told = re.search(r'<pre id="found">(.*?)</pre>', dom, re.DOTALL)
    assert told and told[1], dom[-3000:]
    return json.loads(told[1].replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">"))


@pytest.mark.parametrize("width", [1200, 360])
def test_the_page_works_at_any_width(chromium: str, tmp_path: Path, html: str, width: int):
    found = probe(chromium, tmp_path, html, width)
    assert (found["errors"], found["width"], found["overflows"]) == ([], width, False)
    middle, end = (found[place][0].splitlines() for place in ("middle", "end"))
    assert middle == ["step 20", f"training: {loss(20):g}", "validation: 2.5"]
    assert end == ["step 40", f"training: {loss(40):g}", "validation: 2.25"]
    assert [found[place][1] for place in ("middle", "end")] == [True, True]
    assert found["left"].splitlines() == ["step 39", f"training: {round(loss(39), 5)}", "validation: 2.25 (step 40)"]
    assert found["hidden"] is True
    assert found["shown"] == ["plot log"]
    assert found["smallest"] >= 11
    assert found["overlap"] is False


def test_dark_where_the_reader_has_it_dark(chromium: str, tmp_path: Path, html: str):
    light = probe(chromium, tmp_path, html, 800)["ground"]
    dark = probe(chromium, tmp_path, html, 800, "--blink-settings=preferredColorScheme=0")["ground"]
    assert (light, dark) == ("rgb(255, 255, 255)", "rgb(20, 23, 27)")


def test_the_page_on_paper(chromium: str, tmp_path: Path, html: str):
    file = tmp_path / "report.html"
    file.write_text(html)
    browse(chromium, file, "--no-pdf-header-footer", f"--print-to-pdf={tmp_path / 'report.pdf'}")
    printed = (tmp_path / "report.pdf").read_bytes()
    assert printed.startswith(b"%PDF")
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", printed)) <= 6


def test_a_picture_of_the_page(chromium: str, tmp_path: Path, html: str):
    """As docs/report.md's is taken."""
    file = tmp_path / "report.html"
    file.write_text(html)
    browse(chromium, file, "--window-size=1000,1400", f"--screenshot={tmp_path / 'report.png'}")
    picture = (tmp_path / "report.png").read_bytes()
    assert picture[:4] == b"\x89PNG"
    assert 20_000 < len(picture) < 1_000_000
