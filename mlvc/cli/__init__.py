"""What a person types and reads: the only room that prints or reads the process environment."""
