"""A server of the Open Inference Protocol V2 for one encoder, whose every request has a bounded cost."""
