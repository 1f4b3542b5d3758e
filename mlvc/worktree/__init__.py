"""The files: scanning, capturing, comparing and restoring them, and git's ignore lines for them."""
