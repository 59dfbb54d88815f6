"""Runs every script and fails if one of them does."""

import pathlib
import subprocess
import sys

here = pathlib.Path(__file__).parent
failed = []
for script in sorted(here.glob("with_*.py")):
    print(f"== {script.name}", flush=True)
    try:
        if subprocess.run([sys.executable, str(script)], cwd=here, timeout=180).returncode:
            failed.append(script.name)
    except subprocess.TimeoutExpired:
        failed.append(f"{script.name} (did not end)")
print(f"failed: {', '.join(failed)}" if failed else "all passed")
sys.exit(1 if failed else 0)
