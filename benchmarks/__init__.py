"""What the README says about speed, rerun with ``make bench``."""
