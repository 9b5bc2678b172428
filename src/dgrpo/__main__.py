"""`python -m dgrpo` is `dgrpo`."""

from dgrpo.cli import main

if __name__ == "__main__":
    main()
