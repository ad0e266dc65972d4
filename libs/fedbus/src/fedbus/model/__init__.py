"""Models as named arrays: layouts, blobs and the files that hold weights."""
