"""Pictures written as PNG, JPEG and WebP; worker/images.py reads them."""
