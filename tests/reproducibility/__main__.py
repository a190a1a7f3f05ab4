"""`python -m reproducibility`."""

from reproducibility.cli import main

# The trainers' processes import this file under another name.
if __name__ == "__main__":
    main()
