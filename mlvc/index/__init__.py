"""The metadata index: answers questions about commits, runs and data. The only room that talks SQL."""
