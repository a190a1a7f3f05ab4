"""`lateen generate`: text from a checkpoint, or from a model in Hugging Face's format."""
