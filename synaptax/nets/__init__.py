"""The bundled networks and their layers."""
