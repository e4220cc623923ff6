"""The demo shows what it says."""

import subprocess
import sys

from lab.config import ROOT
from lab.waiting import PROGRAM_S


def test_the_demo_runs_to_its_end():
    done = subprocess.run([sys.executable, ROOT / "examples/demo/demo.py"], capture_output=True, text=True,
                          timeout=PROGRAM_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [number for number in "123456" if f"\n{number}  " in done.stdout] == list("123456")
