"""One thin script per DVC stage; importing any of them first makes sure that this is the right Python."""

import gc
import sys
from importlib.util import find_spec
from multiprocessing import parent_process

if any(find_spec(name) is None for name in ("torch", "pydantic", "ruamel")):
    print(
        f"infocl: {sys.executable} is not the project's Python; run `make env`, then "
        "`source .venv/bin/activate`",
        file=sys.stderr,
    )
    sys.exit(2)

if parent_process() is None:
    gc.disable()  # torch and its kin make 700,000 objects that stay; `run_stage` enables it again
