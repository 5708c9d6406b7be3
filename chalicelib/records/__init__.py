"""Records in Redis: their life (`lifecycle`), their written forms (`codec`), their storage (`store`)."""
