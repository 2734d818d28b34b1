"""Small programs that show keepwarm at work. Each runs by itself: ``python -m examples.first_call URL``."""
