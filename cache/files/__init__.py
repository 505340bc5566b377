"""Where the bytes of a store lie: a folder, a zip, a bucket, a web server."""
