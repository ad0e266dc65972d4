"""Store in a MongoDB database."""
