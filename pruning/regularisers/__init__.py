"""The same network under several regularisers."""
