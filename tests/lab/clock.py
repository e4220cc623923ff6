"""A process's wall clock as the test sets it (clock.c); its monotonic clock goes on."""

import os
import shutil
import struct
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("clock.c")


def can_be_set():
    """Whether there is a C compiler; where Rust is built there is one."""
    return shutil.which("cc") is not None


class WallClock:
    """A clock for one process; `environment` is what the process needs."""

    def __init__(self, directory):
        self.file, library = Path(directory) / "offset", Path(directory) / "clock.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", library, SOURCE], check=True, timeout=60)
        self.environment = {"LD_PRELOAD": str(library), "TEST_CLOCK": str(self.file)}
        self.file.write_bytes(struct.pack("<q", 0))

    def step(self, seconds):
        """Sets it so many seconds apart from the machine's, at once. (The file is mapped: it is never replaced.)"""
        with open(self.file, "r+b") as file:
            os.pwrite(file.fileno(), struct.pack("<q", seconds), 0)
