"""Imaging: time, memory and likeness of thumbnails, and the scorecard, beside other libraries."""
