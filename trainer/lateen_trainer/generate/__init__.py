"""Text from a model: tokens are drawn (`sampling`), one after the other (`decode`), and become text (`text`)."""
