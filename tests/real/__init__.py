"""Against servers that others wrote. Run by ``make real``, which installs them."""
