"""Protocol: messages, documents, topics and their encoding. Pure."""
