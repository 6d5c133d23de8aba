"""``python -m study`` is the same as ``wbc-study``."""

from study.commands.main import main

if __name__ == "__main__":
    main()
