"""Caches of small parts, and builders that begin late: training has to wait for its text."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from lateen_api.progress import Phase
from lateen_trainer.data.background import BackgroundBuilder
from lateen_trainer.data.layout import Layout
from lateen_trainer.data.prepare import open_or_build_cache
from lateen_trainer.report.reporter import Reporter


class LateBuilder(BackgroundBuilder):
    """Does not begin before it is waited for."""

    def __enter__(self) -> "LateBuilder":
        return self

    def check(self) -> None:
        if self._process is None:
            self._start()
        super().check()


@contextmanager
def parts_of(layout: Layout) -> Iterator[None]:
    """Parts of some sequences, where others have millions."""
    defaults = open_or_build_cache.__kwdefaults__
    assert defaults is not None
    before, defaults["layout"] = defaults["layout"], layout
    try:
        yield
    finally:
        defaults["layout"] = before


def details_of_waits(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """What runs report while they wait for text, from now on."""
    details: list[str | None] = []
    phase = Reporter.phase

    def noted(report: Reporter, what: Phase, detail: str | None = None) -> None:
        if what is Phase.WAITING_FOR_DATA:
            details.append(detail)
        phase(report, what, detail)

    monkeypatch.setattr(Reporter, "phase", noted)
    return details
