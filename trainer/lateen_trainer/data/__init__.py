"""Data: source files → documents → tokens → cache → order → batches.

`urls` finds the files, `documents` reads them, `tokenizer` and `chat` encode, `build` writes the cache, `cache` reads
it and `prepare` decides between the two. `sequence_sources` makes sequences of a cache, `packing` where documents stay
by themselves; `order` and `mixture` say which sequences come when, `run_sequences` reads them by their number in the
run, `loader` fetches them ahead of the training loop, and `evaluation` holds the batches of a validation set.
`job_data` puts all of it together for a job.
"""
