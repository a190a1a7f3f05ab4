"""The architectures, written with named axes."""
