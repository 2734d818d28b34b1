"""Programs that tests run in a process of their own. Each says what it found on stdout, as JSON."""
