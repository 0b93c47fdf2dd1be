"""One thin script per DVC stage; importing any of them first makes sure that this is the right Python."""

import sys
from importlib.util import find_spec

if any(find_spec(name) is None for name in ("torch", "pydantic", "ruamel")):
    print(
        f"infocl: {sys.executable} is not the project's Python; run `make env`, then "
        "`source .venv/bin/activate`",
        file=sys.stderr,
    )
    sys.exit(2)
