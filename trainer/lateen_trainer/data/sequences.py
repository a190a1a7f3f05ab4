"""How a stream of tokens is cut into training sequences, so that every token is predicted once.

Sequence i is tokens[i·S : i·S + S + 1]: its first S tokens are the input and its last S the targets.
Neighbours share one token, which is a target in one and the first input of the next.
"""


def count_sequences(num_tokens: int, seq_len: int) -> int:
    """Sequences of `seq_len` targets in a stream. What is left at its end is less than a sequence."""
    return max(0, (num_tokens - 1) // seq_len)
