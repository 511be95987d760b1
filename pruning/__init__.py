"""What a weight is worth, and how to take it away."""
