"""What every study needs, whatever its subject: the foundation of the four packages."""
