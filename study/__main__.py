"""``python -m study`` is the same as ``wbc-study``."""

from study.command_line import main

if __name__ == "__main__":
    main()
