"""The official layout of each benchmark, read; and a miniature of each, written so that users can see the layout."""
