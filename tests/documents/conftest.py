from tests.support.s3 import s3_bucket, s3_server, storage_uri

__all__ = ["s3_bucket", "s3_server", "storage_uri"]
