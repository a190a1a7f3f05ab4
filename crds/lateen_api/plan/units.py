"""Numbers as people read them, and divisors to offer them."""

_THOUSANDS = ("", " k", " M", " G", " T", " P", " E", " Z")


def count(number: float) -> str:
    """`257`, `12.3 k`, `124.4 M`, `419.4 G`."""
    return _scaled(number, 1000, _THOUSANDS)


def flops(number: float) -> str:
    """`855.8 MFLOP`, `1.2 TFLOP`."""
    text = _scaled(number, 1000, _THOUSANDS)
    return f"{text}FLOP" if " " in text else f"{text} FLOP"


def bytes_(number: float) -> str:
    """`512 B`, `1.7 MiB`, `1.9 GiB`."""
    return _scaled(number, 1024, (" B", " KiB", " MiB", " GiB", " TiB", " PiB"))


def percent(part: float) -> str:
    """`37 %`"""
    return f"{100 * part:.0f} %"


def divisors(number: int) -> list[int]:
    """All divisors, least first."""
    low = [d for d in range(1, int(number**0.5) + 1) if number % d == 0]
    return sorted({*low, *(number // d for d in low)})


def divisors_near(number: int, wished: int) -> list[int]:
    """The divisors next below and above a number that is none."""
    of_number = divisors(number)
    return [*[d for d in of_number if d < wished][-1:], *[d for d in of_number if d > wished][:1]]


def _scaled(number: float, step: int, units: tuple[str, ...]) -> str:
    scaled, power = float(number), 0
    # 999.96 would be printed as 1000.0, so it is one unit up already.
    while scaled >= step - 0.05 and power < len(units) - 1:
        scaled, power = scaled / step, power + 1
    return f"{scaled:,.0f}{units[0]}" if power == 0 else f"{scaled:,.1f}{units[power]}"
