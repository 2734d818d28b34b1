"""The main job, in the open: tens of thousands of keepalive calls to real servers: ``python -m examples.demo``."""
