"""The errors that a person can mend: what is wrong, with what value, what was expected, what to do."""

from collections.abc import Iterable

from lateen_api.masking import masked
from lateen_api.termination import ExitCode


class JobError(ValueError):
    """A job that cannot run as it is written.

    Args:
        where: field (`spec.trainer.trainBatchSize`) or file.
        message: value, what was expected and what to do. Secrets in URLs are masked.
    """

    exit_code = ExitCode.USER_ERROR

    def __init__(self, where: str, message: str):
        self.where = masked(where)
        self.message = masked(message)
        super().__init__(f"{self.where}: {self.message}")

    @property
    def errors(self) -> tuple["JobError", ...]:
        """The mistakes one by one: of a JobError itself, of a JobErrors all of them."""
        return (self,)


class UnreachableError(JobError):
    """A place that a job names does not answer. The job may be right: another attempt can go well."""

    exit_code = ExitCode.ERROR


class JobErrors(JobError):
    """Several mistakes in one job. `str()` prints one a line; `except JobError` catches it too."""

    def __init__(self, errors: Iterable[JobError]):
        self._errors = tuple(single for error in errors for single in error.errors)
        # A ValueError prints its only argument, so the lines are what str() gives.
        ValueError.__init__(self, "\n".join(str(error) for error in self._errors))
        self.where = ", ".join(error.where for error in self._errors)
        self.message = str(self)

    @property
    def errors(self) -> tuple[JobError, ...]:
        return self._errors


def raise_all(errors: Iterable[JobError]) -> None:
    """Raises what was found: nothing for no errors, a JobError for one, a JobErrors for several."""
    found = [single for error in errors for single in error.errors]
    if len(found) == 1:
        raise found[0]
    if found:
        raise JobErrors(found)
