"""``python -m etlcore_sls.emulator``."""

from etlcore_sls.emulator.command import main

if __name__ == "__main__":
    main()
