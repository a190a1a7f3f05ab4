"""A curve drawn with braille characters: each is a grid of 2 × 4 dots."""

from lateen_operator.local.losses import Points

_BLANK = 0x2800
# Bit of the dot in column x (0, 1) and row y (0 on top … 3), from the Unicode block "Braille Patterns".
_BITS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))


def binned(points: Points, width: int) -> Points:
    """(column of dots, mean value) of the columns that have points, in `width` characters.

    The first point lies in the leftmost column, the last one in the rightmost.
    """
    first, last = points[0][0], points[-1][0]
    scale = (2 * width - 1) / max(1, last - first)
    columns: dict[int, list[float]] = {}
    for step, value in points:
        columns.setdefault(int((step - first) * scale), []).append(value)
    return [(x, sum(values) / len(values)) for x, values in columns.items()]


def curve(columns: Points, width: int, height: int) -> list[str]:
    """`height` lines of `width` characters with neighbouring columns of dots joined; see `binned`."""
    values = [value for _, value in columns]
    lowest, highest = min(values), max(values)
    span = (highest - lowest) or 1.0
    cells = [[0] * width for _ in range(height)]
    before: tuple[int, int] | None = None
    for x, value in columns:
        here = x, round((highest - value) / span * (4 * height - 1))
        for dot_x, dot_y in _line(before or here, here):
            cells[dot_y // 4][dot_x // 2] |= _BITS[dot_x % 2][dot_y % 4]
        before = here
    return ["".join(chr(_BLANK + cell) for cell in row) for row in cells]


def _line(start: tuple[int, int], end: tuple[int, int]) -> list[tuple[int, int]]:
    """Dots from start to end, both included."""
    (x0, y0), (x1, y1) = start, end
    length = max(abs(x1 - x0), abs(y1 - y0))
    if length == 0:
        return [end]
    return [(round(x0 + (x1 - x0) * i / length), round(y0 + (y1 - y0) * i / length)) for i in range(length + 1)]
