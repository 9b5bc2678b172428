"""One thread per worker: the suite runs in two processes, and sums then have one order."""

import torch

torch.set_num_threads(1)
