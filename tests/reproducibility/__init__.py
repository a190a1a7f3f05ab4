"""The same training again and again, on other processes and devices and with real faults, compared bit by bit.

`python -m reproducibility` (from `tests/`) runs all cases and writes the table of docs/reproducibility.md;
`test_reproducibility.py` runs a few that stand for the others.
"""
