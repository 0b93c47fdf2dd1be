"""Stage report: one page on what was learned, what it cost and what to ship."""

from __future__ import annotations

from infocl.report.build import build_report
from stages.run import run_stage

if __name__ == "__main__":
    run_stage("report", build_report)
