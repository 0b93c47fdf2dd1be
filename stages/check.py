"""Stage check: the whole of params.yaml, also what no other stage would read now."""

import sys

from infocl.params_file import load_params
from infocl.stage import guarded

if __name__ == "__main__":
    sys.exit(guarded(load_params))
