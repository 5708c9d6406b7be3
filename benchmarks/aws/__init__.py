"""What AWS bills or limits: cold starts, and calls of Redis and S3."""
