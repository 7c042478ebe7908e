"""Makes the bucket and the table of traces that compose's profile `aws` serves from; runs in moto's image, which has nothing of ours.

AWS_ENDPOINT_URL, AWS_DEFAULT_REGION and keys say where. What is there already stays.
"""

import os
from typing import Any

import boto3
from botocore.exceptions import ClientError

BUCKET = os.environ.get("BUCKET", "touchstone")
TABLE = os.environ.get("TABLE", "touchstone-traces")
THERE_ALREADY = ("BucketAlreadyOwnedByYou", "BucketAlreadyExists", "ResourceInUseException")


def table(name: str) -> dict[str, Any]:
    """As infra/terraform/persistent/storage.tf makes it."""
    by = {"by_time": ("everyone", "at"), "by_tenant": ("tenant", "at")}
    return {
        "TableName": name,
        "BillingMode": "PAY_PER_REQUEST",
        "KeySchema": _keys("pk", "sk"),
        "AttributeDefinitions": [
            {"AttributeName": one, "AttributeType": kind}
            for one, kind in (("pk", "S"), ("sk", "S"), ("everyone", "S"), ("tenant", "S"), ("at", "N"))
        ],
        "GlobalSecondaryIndexes": [
            {"IndexName": index, "KeySchema": _keys(*keys), "Projection": {"ProjectionType": "ALL"}} for index, keys in by.items()
        ],
    }


def _keys(key: str, then: str) -> list[dict[str, str]]:
    return [{"AttributeName": key, "KeyType": "HASH"}, {"AttributeName": then, "KeyType": "RANGE"}]


def main() -> None:
    """Make what is not there."""
    for make in (
        lambda: boto3.client("s3").create_bucket(Bucket=BUCKET),
        lambda: boto3.client("dynamodb").create_table(**table(TABLE)),
    ):
        try:
            make()
        except ClientError as error:
            if error.response["Error"]["Code"] not in THERE_ALREADY:
                raise
    print(f"the bucket {BUCKET} and the table {TABLE} are there")


if __name__ == "__main__":
    main()
