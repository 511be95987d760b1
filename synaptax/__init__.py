"""What every study needs, whatever its subject: the foundation of the four packages."""

__version__ = "0.1.0"
