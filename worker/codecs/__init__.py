"""Formats: results written as PNG, JPEG and WebP, and a quick reader of plain masks for worker/images.py."""
