# The network is of the persistent layer and found by its tags; the NAT gateway costs by the hour and so is here.
data "aws_vpc" "this" {
  tags = { Name = var.names.network }
}

data "aws_subnets" "this" {
  for_each = toset(["public", "private"])
  filter {
    name   = "vpc-id"
    values = [data.aws_vpc.this.id]
  }
  tags = { Network = var.names.network, Tier = each.key }
}

data "aws_route_table" "private" {
  vpc_id = data.aws_vpc.this.id
  tags   = { Network = var.names.network, Tier = "private" }
}

data "aws_kms_alias" "this" {
  name = var.names.key
}

resource "aws_eip" "nat" {
  domain = "vpc"
  tags   = { Name = "${var.names.prefix}-nat" }
}

resource "aws_nat_gateway" "this" { # one: if its zone fails, pods of the other reach S3 and DynamoDB, but neither Bedrock nor images
  allocation_id = aws_eip.nat.id
  subnet_id     = sort(data.aws_subnets.this["public"].ids)[0]
  tags          = { Name = var.names.prefix }
}

resource "aws_route" "nat" {
  route_table_id         = data.aws_route_table.private.id
  destination_cidr_block = "0.0.0.0/0"
  nat_gateway_id         = aws_nat_gateway.this.id
}
