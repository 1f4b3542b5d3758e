"""`python -m mlvc`."""

from mlvc.cli.process import main

if __name__ == "__main__":
    main()
