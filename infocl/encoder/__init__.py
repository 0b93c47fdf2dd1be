"""What models/pretrain holds: the network, its files, the views, numerics."""
