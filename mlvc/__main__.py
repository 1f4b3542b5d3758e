"""`python -m mlvc`."""

from mlvc.cli.main import main

if __name__ == "__main__":
    main()
