"""What kind of minimum a network sits in: entropy, curvature, landscape."""
