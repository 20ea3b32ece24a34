"""Object stores (S3, Google Cloud Storage, Azure) as engines of the store and of records."""
