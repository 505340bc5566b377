"""Rows of figures as tables for people."""
