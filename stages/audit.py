"""Stage audit: which changes of an image the encoders still tell, without labels."""

from __future__ import annotations

from infocl.audit.audit import run_audit
from stages.run import run_stage

if __name__ == "__main__":
    run_stage("audit", run_audit)
