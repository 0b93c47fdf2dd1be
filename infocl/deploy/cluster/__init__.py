"""Many machines, by Ray: `infocl embed` and `infocl shard` with `--engine ray`."""
