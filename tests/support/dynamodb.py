"""The tables of traces and of the audit trail."""

from serving.traces.dynamodb import BY_TENANT, BY_TIME


def a_table(endpoint: str, name: str) -> None:
    """The table as infrastructure code makes it."""
    import boto3

    client = boto3.client("dynamodb", region_name="us-east-1", endpoint_url=endpoint)
    key = [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}]
    of = {BY_TENANT: "tenant", BY_TIME: "everyone"}
    indexes = [
        {
            "IndexName": index,
            "KeySchema": [{"AttributeName": attribute, "KeyType": "HASH"}, {"AttributeName": "at", "KeyType": "RANGE"}],
            "Projection": {"ProjectionType": "ALL"},
        }
        for index, attribute in of.items()
    ]
    kinds = {"pk": "S", "sk": "S", "tenant": "S", "everyone": "S", "at": "N"}
    client.create_table(
        TableName=name,
        KeySchema=key,
        AttributeDefinitions=[{"AttributeName": attribute, "AttributeType": kind} for attribute, kind in kinds.items()],
        GlobalSecondaryIndexes=indexes,
        BillingMode="PAY_PER_REQUEST",
    )


def an_audit_table(endpoint: str, name: str) -> None:
    """The table of the audit trail as infrastructure code makes it."""
    import boto3

    boto3.client("dynamodb", region_name="us-east-1", endpoint_url=endpoint).create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": attribute, "AttributeType": "S"} for attribute in ("pk", "sk")],
        BillingMode="PAY_PER_REQUEST",
    )
