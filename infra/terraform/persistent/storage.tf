# Everything that is not computed again: it survives a pause.

module "access_logs" {
  source            = "../modules/bucket"
  name              = var.names.buckets.logs
  expire_after_days = 90
  statements = [{
    Sid       = "AccessLogs"
    Effect    = "Allow"
    Principal = { Service = "logging.s3.amazonaws.com" }
    Action    = "s3:PutObject"
    Resource  = "arn:aws:s3:::${var.names.buckets.logs}/*"
    Condition = { StringEquals = { "aws:SourceAccount" = var.names.account } }
  }]
}

locals {
  buckets = {
    # originals of documents: read again when one is opened or the index is built anew; what somebody deletes is gone after 30 days
    documents = { archive = 90, expire = null, old_archive = null, old_expire = 30 }
    # read with every question
    indexes = { archive = null, expire = null, old_archive = null, old_expire = 14 }
    # small, and the proof of what was served when
    releases = { archive = null, expire = null, old_archive = 30, old_expire = 730 }
    stages   = { archive = null, expire = var.stage_days, old_archive = null, old_expire = 7 }
    mlflow   = { archive = 90, expire = null, old_archive = 30, old_expire = 365 }
  }
}

module "bucket" {
  for_each                        = local.buckets
  source                          = "../modules/bucket"
  name                            = var.names.buckets[each.key]
  key_arn                         = aws_kms_key.this.arn
  log_bucket                      = var.names.buckets.logs
  archive_after_days              = each.value.archive
  expire_after_days               = each.value.expire
  old_versions_archive_after_days = each.value.old_archive
  old_versions_expire_after_days  = each.value.old_expire
  depends_on                      = [module.access_logs]
}

# As serving/traces/dynamodb.py lays them out: traces, what was said of them, and which hold words of a document, in one table.
resource "aws_dynamodb_table" "traces" {
  for_each                    = var.names.tables
  name                        = each.value
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "pk"
  range_key                   = "sk"
  deletion_protection_enabled = true

  attribute {
    name = "pk"
    type = "S"
  }
  attribute {
    name = "sk"
    type = "S"
  }
  attribute {
    name = "everyone"
    type = "S"
  }
  attribute {
    name = "tenant"
    type = "S"
  }
  attribute {
    name = "at"
    type = "N"
  }

  global_secondary_index {
    name            = "by_time"
    hash_key        = "everyone"
    range_key       = "at"
    projection_type = "ALL"
  }
  global_secondary_index {
    name            = "by_tenant"
    hash_key        = "tenant"
    range_key       = "at"
    projection_type = "ALL"
  }

  ttl {
    attribute_name = "ttl"
    enabled        = true
  }
  point_in_time_recovery {
    enabled = true
  }
  server_side_encryption {
    enabled     = true
    kms_key_arn = aws_kms_key.this.arn
  }
}

# As serving/audit/dynamodb.py lays it out: entries and their outcomes by tenant and time. Nobody's role may change or delete one.
resource "aws_dynamodb_table" "audit" {
  for_each                    = var.names.audit_tables
  name                        = each.value
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "pk"
  range_key                   = "sk"
  deletion_protection_enabled = true

  attribute {
    name = "pk"
    type = "S"
  }
  attribute {
    name = "sk"
    type = "S"
  }

  ttl {
    attribute_name = "ttl"
    enabled        = true
  }
  point_in_time_recovery {
    enabled = true
  }
  server_side_encryption {
    enabled     = true
    kms_key_arn = aws_kms_key.this.arn
  }
}

resource "aws_ecr_repository" "this" {
  for_each             = var.names.repositories
  name                 = each.value
  image_tag_mutability = "IMMUTABLE"
  image_scanning_configuration {
    scan_on_push = true
  }
  encryption_configuration {
    encryption_type = "KMS"
    kms_key         = aws_kms_key.this.arn
  }
}

# Channels name images by digest, which keeps none here. So what is built is counted by itself, and what is signed to it by itself: a signature and an
# attestation are images with a tag to ECR. An image that no rule takes, as one that was pushed by hand, stays until somebody removes it.
resource "aws_ecr_lifecycle_policy" "this" {
  for_each   = aws_ecr_repository.this
  repository = each.value.name
  policy = jsonencode({
    rules = [
      {
        rulePriority = 1
        description  = "signatures and attestations (cosign's tags), two to an image: far more than belong to the images that are kept"
        selection    = { tagStatus = "tagged", tagPatternList = ["sha256-*"], countType = "imageCountMoreThan", countNumber = 1000 }
        action       = { type = "expire" }
      },
      {
        rulePriority = 2
        description  = "all but the latest 100 of what infra/pipelines/build.sh names"
        selection    = { tagStatus = "tagged", tagPatternList = ["made-*"], countType = "imageCountMoreThan", countNumber = 100 }
        action       = { type = "expire" }
      },
      {
        rulePriority = 3
        description  = "what has no tag: a push that was cut off"
        selection    = { tagStatus = "untagged", countType = "sinceImagePushed", countUnit = "days", countNumber = 3 }
        action       = { type = "expire" }
      },
    ]
  })
}

resource "aws_secretsmanager_secret" "this" { # a shell: what is in it is put there by hand and never by Terraform
  for_each                = var.names.secrets
  name                    = each.value
  kms_key_id              = aws_kms_key.this.arn
  recovery_window_in_days = 7
}
