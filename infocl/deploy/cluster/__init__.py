"""`infocl embed --engine ray`: the same embeddings by many processes on many machines."""
