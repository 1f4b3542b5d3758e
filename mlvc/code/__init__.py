"""The code: its SHA, its history, and its files exactly as they were. The only room that talks to git."""
