"""What is a fault and what is not: facts in, findings out. Pure."""
