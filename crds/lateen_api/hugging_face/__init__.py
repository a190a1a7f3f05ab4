"""Models in Hugging Face's format, as far as a job and its plan know of them: `config.json` and `spec.model`."""
