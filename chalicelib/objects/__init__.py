"""Objects in S3: the bucket, and the events that S3, Lambda and SQS deliver about it."""
