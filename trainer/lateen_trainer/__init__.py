"""Tokens in, model out. A module is a station on the way of the data and imports only stations before it."""
