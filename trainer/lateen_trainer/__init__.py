"""Tokens in, model out. A module is a station on the way of the data and imports only stations before it."""

import time

BEGAN = time.time()
"""When this process began, nearly: before jax is imported, which takes seconds. Seconds since the epoch."""
