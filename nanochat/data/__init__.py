"""Datasets: download, tokenize, store and read them."""
