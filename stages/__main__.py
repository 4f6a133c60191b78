"""`python -m stages` is `kormed`."""

from stages.cli import main

if __name__ == "__main__":
    main()
