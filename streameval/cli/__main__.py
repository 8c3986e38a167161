"""``python -m streameval.cli``: the same as the command ``streameval``."""

from streameval.cli import main

if __name__ == "__main__":
    main()
