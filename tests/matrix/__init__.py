"""The fault matrix: what becomes of a call, and of the next one, when the network fails it: see `cells`."""
