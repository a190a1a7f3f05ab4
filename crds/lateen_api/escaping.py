"""Names of files that are not UTF-8: Python keeps such bytes as surrogates, which cannot be encoded."""


def escaped(text: str) -> str:
    """The text with `\\xff` for bytes that are not UTF-8, and `?` for other surrogates: it can be encoded."""
    if text.isascii():
        return text
    return "".join(written(character) if "\ud800" <= character <= "\udfff" else character for character in text)


def written(character: str) -> str:
    """A character that an encoding has not got, as it is shown."""
    byte = ord(character) - 0xDC00
    return f"\\x{byte:02x}" if 0x80 <= byte <= 0xFF else "?"


def printable(text: str) -> str:
    """The text without control characters, since a model's output or a log must not steer the terminal, and with
    `\\xff` for bytes that are not UTF-8."""
    text = escaped(text)
    return "".join(char if char.isprintable() or char == "\n" else " " if char == "\t" else "·" for char in text)
