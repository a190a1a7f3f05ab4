"""One optimizer step: lanes of a batch → gradients → update."""
