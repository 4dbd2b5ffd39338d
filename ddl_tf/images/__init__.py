"""Images of faces: decoded, turned upright, and aligned by their landmarks."""
