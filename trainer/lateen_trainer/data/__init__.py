"""Data: source files → documents → tokens → cache → order → batches.

`urls` finds the files, `documents` reads them, `tokenizer` encodes, `build` writes the cache, `cache` reads it
and `prepare` decides between the two, `order` says which sequences form the batch of a step, `loader` fetches
them ahead of the training loop, and `evaluation` holds the batches of the validation set.
"""
