"""Models in Hugging Face's format: read onto a mesh, and written from it, in slices."""
