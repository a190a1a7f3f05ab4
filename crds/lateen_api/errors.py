"""The errors that a person can mend: what is wrong, with what value, what was expected, what to do."""


class JobError(ValueError):
    """A job that cannot run as it is written.

    Args:
        where: field (`spec.trainer.trainBatchSize`) or file.
        message: value, what was expected and what to do.
    """

    def __init__(self, where: str, message: str):
        super().__init__(f"{where}: {message}")
        self.where = where
        self.message = message
