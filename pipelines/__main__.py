"""`python -m pipelines retrain`, `rollback` or `sweep`: what the commands of `infocl` become in a project."""

from pipelines.command_line import app

app(prog_name="infocl")
