"""The pool: who gets which connection, and everything below HTTP."""
