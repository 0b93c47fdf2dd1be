"""Stage check: the whole of params.yaml, also what no other stage would read now."""

import sys

from infocl.errors import guarded
from infocl.params_file import load_params

if __name__ == "__main__":
    sys.exit(guarded(load_params))
