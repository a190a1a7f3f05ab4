"""Subcommands that need nothing but the contract."""
