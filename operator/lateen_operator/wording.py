"""Numbers, durations and foreign text as people read them."""

from pathlib import Path

from lateen_api.escaping import escaped
from lateen_api.escaping import printable as printable  # of foreign text, as the others here


def duration(seconds: float) -> str:
    """`8 s`, `3 min 20 s`, `2 h 5 min`, `4 d 3 h`: the two largest units."""
    total = max(0, round(seconds))
    if total < 60:
        return f"{total} s"
    if total < 3600:
        return _two(total // 60, "min", total % 60, "s")
    if total < 86_400:
        return _two(total // 3600, "h", total % 3600 // 60, "min")
    return _two(total // 86_400, "d", total % 86_400 // 3600, "h")


def clock(seconds: float) -> str:
    """`0:07`, `12:34`, `1:02:03`: time since the start, in front of a line."""
    total = max(0, int(seconds))
    hours, minutes = divmod(total // 60, 60)
    return f"{hours}:{minutes:02}:{total % 60:02}" if hours else f"{minutes}:{total % 60:02}"


def count(number: int, noun: str, plural: str | None = None) -> str:
    """`1 step`, `2,000 steps`, `2 processes`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def hosts(number: int) -> str:
    """`one host`, `2 hosts`, within a sentence."""
    return "one host" if number == 1 else f"{number} hosts"


def asked_for(number: int) -> str:
    """`one host is asked for`, `2 hosts are asked for`."""
    return f"{hosts(number)} {'is' if number == 1 else 'are'} asked for"


def size(number: float) -> str:
    """`512 B`, `1.5 MiB`, `20.0 GiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024:
            return f"{number:.0f} B" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} TiB"


def loss(value: float | None) -> str:
    """Four decimals, or a dash when there is none."""
    return "–" if value is None else f"{value:.4f}"


def shown(place: Path | str) -> str:
    """A path relative to the current folder where that is shorter; a URL as it is."""
    try:
        return escaped(str(Path(place).relative_to(Path.cwd())))
    except ValueError:
        return escaped(str(place))


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large} {large_unit} {small} {small_unit}" if small else f"{large} {large_unit}"
