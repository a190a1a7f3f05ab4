"""A display that may lose its terminal: the training goes on without it."""

from lateen_operator.local.view import Display, View


class DetachableDisplay:
    """Hands everything to another display until writing to it fails (a closed terminal, a pipe whose reader
    left)."""

    def __init__(self, display: Display):
        self._display: Display | None = display

    def show(self, view: View) -> None:
        """Shows the view, if anybody looks."""
        if self._display:
            try:
                self._display.show(view)
            except OSError:
                self._display = None

    def say(self, message: str) -> None:
        """Says the message, if anybody reads."""
        if self._display:
            try:
                self._display.say(message)
            except OSError:
                self._display = None

    def close(self) -> None:
        """Closes the display, if it is still there."""
        if self._display:
            try:
                self._display.close()
            except OSError:
                self._display = None
