"""The public surface, promise by promise. Each test carries the id of its row; `rows` lists the ids."""
